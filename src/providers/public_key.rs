//! Telling public keys apart: by type and base64 only.
//!
//! GitHub strips the comment, Bitbucket moves it into a field, GitLab cuts it; titles are for people.

/// The line without its comment and without blanks at its ends, which some forms take for parts of the key.
pub fn bare_key(line: &str) -> String {
    let words: Vec<_> = line.split_ascii_whitespace().take(2).collect();
    words.join(" ")
}

/// Whether two OpenSSH lines hold the same key.
pub fn same_key(one: &str, other: &str) -> bool {
    match (identity(one), identity(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

fn identity(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_ascii_whitespace();
    Some((words.next()?, words.next()?.trim_end_matches('=')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_blanks_and_padding_do_not_matter() {
        let key = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7== Netlify deploy key";
        for (other, same) in [
            ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7==", true),
            ("  ssh-rsa\tAAAAB3NzaC1yc2EAAAADAQABAAABAQC7==\n", true),
            (
                "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7 other comment",
                true,
            ),
            ("ssh-ed25519 AAAAB3NzaC1yc2EAAAADAQABAAABAQC7==", false),
            ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC8==", false),
            ("ssh-rsa", false),
            ("", false),
        ] {
            assert_eq!(same_key(key, other), same, "{other:?}");
        }
        assert!(!same_key("", ""));
    }
}
