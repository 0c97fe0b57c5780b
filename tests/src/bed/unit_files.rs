//! The unit files of a bed host and the links that enable them. Starts nothing.

use std::fs;

use super::unit::Unit;

/// Where unit files lie.
const UNITS: &str = "/etc/systemd/system";
/// Where the links of enabled units lie.
pub(super) const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";

pub(super) fn full_name(name: &str) -> String {
    if name.contains('.') {
        name.to_owned()
    } else {
        format!("{name}.service")
    }
}

pub(super) fn load(name: &str) -> Result<Unit, String> {
    if name.ends_with(".target") || name.ends_with(".socket") {
        return Err(format!("{name}: a bed has services only"));
    }
    let path = format!("{UNITS}/{name}");
    let text = fs::read_to_string(&path).map_err(|e| format!("Unit {name} not found: {path}: {e}"))?;
    Unit::parse(&text).map_err(|e| format!("{path}: {e}"))
}

pub(super) fn enable(name: &str) -> Result<(), String> {
    let name = full_name(name);
    let unit = load(&name)?;
    if unit.wanted_by.is_empty() {
        return Err(format!("{name}: has no [Install] section"));
    }
    let link = format!("{WANTS}/{name}");
    if fs::symlink_metadata(&link).is_ok() {
        return Ok(());
    }
    std::os::unix::fs::symlink(format!("{UNITS}/{name}"), &link).map_err(|e| format!("{link}: {e}"))
}

pub(super) fn disable(name: &str) -> Result<(), String> {
    let link = format!("{WANTS}/{}", full_name(name));
    match fs::remove_file(&link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{link}: {error}")),
        _ => Ok(()),
    }
}

pub(super) fn enabled(name: &str) -> (i32, String) {
    let there = fs::symlink_metadata(format!("{WANTS}/{}", full_name(name))).is_ok();
    if there {
        (0, "enabled\n".to_owned())
    } else {
        (1, "disabled\n".to_owned())
    }
}
