//! Normalization of text.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::decompose_canonical;

/// The text with letters and their accents composed (Unicode's form C), so that what looks the same is the
/// same, however it was typed.
pub fn compose(text: &str) -> String {
    if text.is_ascii() { text.to_owned() } else { text.nfc().collect() }
}

/// The parts of a composed character, in Unicode's form D; the character itself where it has none.
pub(super) fn decompose(character: char) -> impl Iterator<Item = char> {
    let mut parts = Vec::with_capacity(2);
    decompose_canonical(character, |part| parts.push(part));
    parts.into_iter()
}

/// Composes (see [`compose`]), lower-cases, trims, and makes every run of white space one space: the form in
/// which text is encoded and compared.
pub fn normalize(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !normal.is_empty() {
            normal.push(' ');
        }
        normal.push_str(&word.to_lowercase());
    }
    compose(&normal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_same_letters_have_one_form() {
        assert_eq!(compose("e\u{301}o\u{308}"), "\u{e9}\u{f6}");
        assert_eq!(compose("plain"), "plain");
        // A Hangul syllable of its jamo, and two accents in either order.
        assert_eq!(compose("\u{1112}\u{1161}\u{11ab}"), "\u{d55c}");
        assert_eq!(compose("a\u{302}\u{323}"), compose("a\u{323}\u{302}"));
        assert_eq!(normalize("  CAFE\u{301}\t \u{212b}  "), "caf\u{e9} \u{e5}");
        assert_eq!(decompose('\u{e9}').collect::<String>(), "e\u{301}");
        assert_eq!(decompose('x').collect::<String>(), "x");
    }

    proptest! {
        #[test]
        fn the_form_is_final(text in ".{0,40}") {
            let normal = normalize(&text);
            prop_assert_eq!(compose(&normal), normal.clone());
            prop_assert_eq!(normalize(&normal), normal);
            prop_assert_eq!(normalize(&compose(&text)), normalize(&text));
        }
    }
}
