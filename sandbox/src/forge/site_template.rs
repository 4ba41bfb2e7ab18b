//! The small static site that `template: "site"` puts into a repository; its build needs nothing but sh, mkdir, cat and cp.

use std::collections::BTreeMap;

/// The file whose text the built page shows.
pub const TEXT_FILE: &str = "content/text.txt";

const README: &str = "# A small site\n\n`sh build.sh` writes `dist/index.html` from `src/index.html` and `content/text.txt`.\n";

const BUILD: &str = r#"#!/bin/sh
# Builds the site into dist/ from src/ and content/; needs no package.
set -eu
text=$(cat content/text.txt)
mkdir -p dist
while IFS= read -r line; do
  case $line in
    *@text@*) printf '%s\n' "    <p id=\"text\">$text</p>" ;;
    *) printf '%s\n' "$line" ;;
  esac
done < src/index.html > dist/index.html
cp src/style.css dist/style.css
echo "built dist/index.html: $text"
"#;

const PAGE: &str = r#"<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>A small site</title>
    <link rel="stylesheet" href="style.css">
  </head>
  <body>
    <h1>A small site</h1>
    @text@
  </body>
</html>
"#;

const STYLE: &str = "body { font-family: sans-serif; margin: 3rem auto; max-width: 40rem; }\n";

/// All files of the site, with this text on its page.
pub fn files(text: &str) -> BTreeMap<String, String> {
    [
        ("README.md", README),
        ("build.sh", BUILD),
        ("src/index.html", PAGE),
        ("src/style.css", STYLE),
        (TEXT_FILE, &format!("{text}\n")),
    ]
    .map(|(path, content)| (path.to_owned(), content.to_owned()))
    .into()
}
