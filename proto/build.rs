//! Compiles the wire schema with protox, so that no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[cfg(feature = "wire")]
    {
        let mut files = Vec::new();
        for entry in std::fs::read_dir("shoal/v1")? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "proto") {
                files.push(path);
            }
        }
        files.sort();
        let set = protox::compile(&files, ["."])?;
        // Their `Debug` would show secrets; `src/wire/redact.rs` writes it instead.
        let redacted = [
            "RegistryCredential",
            "JoinToken",
            "Promote",
            "BlobChunk",
            "ContentChunk",
            "IssueCertificateRequest",
            "JoinRequest",
        ];
        tonic_prost_build::configure()
            .btree_map(".")
            .skip_debug(redacted.map(|message| format!("shoal.v1.{message}")))
            .compile_fds(set)?;
    }
    println!("cargo:rerun-if-changed=shoal/v1");
    Ok(())
}
