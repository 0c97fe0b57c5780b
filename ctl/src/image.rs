//! Names of images: what can be one, and which registry it names. Asks nobody.

/// The registry an image comes from: the part before the first slash if it can be a host, else Docker's own.
#[must_use]
pub(crate) fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

/// Whether a text can be the name of an image; a registry may still not have it.
pub(crate) fn check(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("the image is empty; is the variable in it set?".to_owned());
    }
    let bad = |why: &str| Err(format!("{text:?} is not an image: {why}"));
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return bad("expected sha256: and 64 hexadecimal digits after @");
        }
    }
    let slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest[slash..].rfind(':') {
        Some(at) => (&rest[..slash + at], Some(&rest[slash + at + 1..])),
        None => (rest, None),
    };
    let tag_signs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if tag.is_some_and(|tag| tag.is_empty() || tag.len() > 128 || !tag.chars().all(tag_signs)) {
        return bad("the part after the last colon is not a tag");
    }
    let path = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => path,
        _ => name,
    };
    if path.chars().any(|c| c.is_ascii_uppercase()) {
        return bad("names of images are lowercase");
    }
    let part = |part: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        edge(part.chars().next()) && edge(part.chars().last()) && part.chars().all(inner)
    };
    if !path.split('/').all(part) {
        return bad("expected [registry/]name[:tag][@digest]");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{check, registry_of};

    #[test]
    fn the_registry_is_the_part_before_the_slash_if_it_can_be_a_host() {
        for (image, host) in [
            ("nginx", "docker.io"),
            ("team/app:1", "docker.io"),
            ("registry.example/app", "registry.example"),
            ("10.0.0.1:5000/app:2", "10.0.0.1:5000"),
            ("localhost/app", "localhost"),
        ] {
            assert_eq!(registry_of(image), host, "{image}");
        }
    }

    #[test]
    fn what_cannot_be_an_image_is_refused_with_the_reason() {
        for image in ["nginx", "r.example:5000/team/app:1.2", "localhost/a_b.c-d"] {
            assert_eq!(check(image), Ok(()), "{image}");
        }
        for (image, why) in [
            ("", "is the variable in it set"),
            ("Shoal/Idle", "lowercase"),
            ("nginx:", "not a tag"),
            ("nginx@sha256:12", "64 hexadecimal digits"),
            ("a//b", "expected [registry/]name"),
        ] {
            let error = check(image).unwrap_err();
            assert!(error.contains(why), "{image}: {error}");
        }
    }
}
