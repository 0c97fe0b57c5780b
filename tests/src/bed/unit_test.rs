//! Unit files are read as systemd reads them.

use super::{Ended, Kind, Next, Unit, UnitError, split_words};

const UNIT: &str = "[Unit]\nDescription=x\nAfter=docker.service network.target\n[Service]\nType=notify\n\
    ExecStart=/usr/local/bin/x run --name \"a b\"\nRestart=on-failure\nRestartSec=2s\n\
    RestartPreventExitStatus=64 65\nRestartForceExitStatus=75\n[Install]\nWantedBy=multi-user.target\n";

#[test]
fn a_unit_is_read_with_its_quotes_times_and_codes() {
    let unit = Unit::parse(UNIT).unwrap();
    assert_eq!(unit.kind, Kind::Notify);
    assert_eq!(unit.start, [["/usr/local/bin/x", "run", "--name", "a b"]]);
    assert_eq!(unit.restart_delay_ms, 2_000);
    assert_eq!(unit.prevent, [64, 65]);
    assert_eq!(unit.after, ["docker.service", "network.target"]);
}

#[test]
fn a_crash_restarts_and_a_listed_code_does_not() {
    let unit = Unit::parse(UNIT).unwrap();
    assert_eq!(unit.after_exit(Ended::Code(1)), Next::StartAgain);
    assert_eq!(unit.after_exit(Ended::Signal(9)), Next::StartAgain);
    assert_eq!(unit.after_exit(Ended::Code(64)), Next::Fail);
    assert_eq!(unit.after_exit(Ended::Code(75)), Next::StartAgain);
    assert_eq!(unit.after_exit(Ended::Code(0)), Next::Rest);
    assert_eq!(unit.after_exit(Ended::Signal(15)), Next::Rest);
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let text = format!("{UNIT}[Service]\nRestrat=always\n");
    assert_eq!(
        Unit::parse(&text).unwrap_err(),
        UnitError::Key("Service.Restrat".into())
    );
}

#[test]
fn quotes_keep_words_together() {
    assert_eq!(
        split_words("/bin/sh -c 'a \"b\" c' \"\""),
        ["/bin/sh", "-c", "a \"b\" c", ""]
    );
}
