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
        tonic_prost_build::configure().compile_fds(set)?;
    }
    println!("cargo:rerun-if-changed=shoal/v1");
    Ok(())
}
