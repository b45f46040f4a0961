//! Language models: formats, look-ups, training.

use super::*;

const ARPA: &str = "\n\\data\\\nngram 1=5\nngram 2=4\nngram 3=2\n\n\\1-grams:\n-1.5\t<unk>\n-99\t<s>\t-0.5\n\
                    -0.7\t</s>\n-0.9\ta\t-0.25\n-1.1\tb\t-0.125\n\n\\2-grams:\n-0.3\t<s> a\t-0.1\n-0.4\ta b\n\
                    -0.6\tb a\t-0.2\n-0.2\tb </s>\n\n\\3-grams:\n-0.05\t<s> a b\n-0.15 b a a\n\n\\end\\\n";

fn model(arpa: &str) -> LanguageModel {
    LanguageModel::read_arpa(arpa.as_bytes(), "lm.arpa").unwrap()
}

/// Log10 probabilities of the words of a sentence, and of its end.
fn scores(model: &LanguageModel, sentence: &str) -> Vec<f64> {
    let mut state = model.beginning();
    let ids = sentence.split_whitespace().map(|word| model.id(word).unwrap_or(model.unknown()));
    let ids = ids.chain([model.end()]);
    ids.map(|id| {
        let (score, next) = model.score(&state, id);
        state = next;
        score
    })
    .collect()
}

#[test]
fn scores_back_off_as_the_definition_says() {
    let model = model(ARPA);
    assert_eq!(model.order(), 3);
    // The 2-gram "a a" is only there for the sake of "b a a".
    assert_eq!(model.counts(), [5, 5, 2]);
    let expected: [(&str, &[f64]); 5] = [
        // p(a|<s>), p(b|<s> a), b(a b) + p(</s>|b)
        ("a b", &[-0.3, -0.05, -0.2]),
        // b(<s>) + p(b), p(a|b) since "<s> b" is not known, b(b a) + b(a) + p(</s>)
        ("b a", &[-1.6, -0.6, -0.2 - 0.25 - 0.7]),
        // …, p(a|b a), b(a a) = 0, so that b(a) + p(</s>)
        ("b a a", &[-1.6, -0.6, -0.15, -0.25 - 0.7]),
        // …, b(<s> a) + b(a) + p(a)
        ("a a", &[-0.3, -0.1 - 0.25 - 0.9, -0.25 - 0.7]),
        ("x a", &[-2.0, -0.9, -0.95]),
    ];
    for (sentence, expected) in expected {
        let found = scores(&model, sentence);
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 2e-6, "{sentence}: {found:?} for {expected:?}");
        }
    }
    let words: Vec<&str> = model.words().map(|(_, word)| word).collect();
    assert_eq!(words, ["a", "b"]);
}

#[test]
fn the_unknown_word_is_known_in_any_case() {
    let with = |mark: &str| {
        let arpa = ARPA.replace("\t<unk>", &format!("\t{mark}\t-0.75"));
        arpa.replace("-0.6\tb a", &format!("-0.6\t{mark} a"))
    };
    let small = model(&with("<unk>"));
    assert_eq!(scores(&small, "x a")[1], scores(&small, "<unk> a")[1]);
    assert!((scores(&small, "x a")[1] + 0.6).abs() < 2e-6);
    for mark in ["<UNK>", "<Unk>"] {
        let capital = model(&with(mark));
        assert_eq!(capital.bytes(), small.bytes(), "{mark}");
        let mut written = Vec::new();
        capital.write_arpa(&mut written).unwrap();
        assert!(String::from_utf8(written).unwrap().contains("\t<unk> a"));
        let twice = ARPA.replace("-0.9\ta", &format!("-0.9\t{mark}"));
        let message = LanguageModel::read_arpa(twice.as_bytes(), "lm.arpa").unwrap_err().to_string();
        assert!(message.contains("lm.arpa:11: the word \"<unk>\" is there twice"), "{message}");
    }
}

#[test]
fn the_stored_form_and_arpa_come_back() {
    let first = model(ARPA);
    let stored = LanguageModel::parse(first.bytes().to_vec()).unwrap();
    let mut arpa = Vec::new();
    stored.write_arpa(&mut arpa).unwrap();
    let again = model(std::str::from_utf8(&arpa).unwrap());
    for sentence in ["", "a b", "b a", "b a a", "x a b", "a a a b"] {
        assert_eq!(scores(&first, sentence), scores(&stored, sentence));
        for (a, b) in scores(&first, sentence).iter().zip(scores(&again, sentence)) {
            assert!((a - b).abs() < 2e-6, "{sentence}");
        }
    }
    stored.verify().unwrap();
}

#[test]
fn malformed_lines_are_named() {
    let cases: [(&str, &str, &str); 20] = [
        ("\\data\\", "data", "lm.arpa:2: an ARPA file begins"),
        ("ngram 2=4", "ngram 3=4", "lm.arpa:4"),
        ("ngram 2=4", "ngram 2=-4", "lm.arpa:4"),
        ("ngram 3=2", "ngram 3=3", "lm.arpa:24: only 2 3-grams of the 3"),
        ("ngram 2=4", "ngram 2=3", "lm.arpa:18: more 2-grams"),
        ("ngram 3=2", "ngram 3=99999999999", "lm.arpa:5"),
        ("ngram 3=2\n", "ngram 3=0\nngram 4=0\nngram 5=0\nngram 6=0\nngram 7=0\n", "lm.arpa:9"),
        ("-0.9\ta", "0.9\ta", "lm.arpa:11: the log10 probability 0.9 is above 0"),
        ("-0.9\ta", "x\ta", "lm.arpa:11"),
        ("-0.9\ta", "nan\ta", "lm.arpa:11"),
        ("\ta\t-0.25", "\ta\tinf", "lm.arpa:11"),
        ("-0.4\ta b", "-0.4\ta", "lm.arpa:16"),
        ("-0.4\ta b", "-0.4\ta b c d", "lm.arpa:16"),
        ("-0.4\ta b", "-0.4\ta c", "lm.arpa:16: the word \"c\" is not among the 1-grams"),
        ("\ta\t", "\tb\t", "lm.arpa:12: the word \"b\" is there twice"),
        ("-0.6\tb a", "-0.6\ta b", "lm.arpa:17: the 2-gram \"a b\" is there twice"),
        ("\t<s>\t", "\t<t>\t", "<s> is missing"),
        ("\\3-grams:", "\\4-grams:", "lm.arpa:20"),
        ("\n\\end\\\n", "", "the file ends where \\end\\ is expected"),
        ("\\data\\", "mmap lm http://kheafield.com/code", "KenLM"),
    ];
    for (from, to, part) in cases {
        assert!(ARPA.contains(from), "{from}");
        let error = LanguageModel::read_arpa(ARPA.replacen(from, to, 1).as_bytes(), "lm.arpa").unwrap_err();
        let message = error.to_string();
        assert!(message.contains(part), "{from:?} to {to:?}: {message}");
    }
    for end in 0..ARPA.len() - 6 {
        assert!(LanguageModel::read_arpa(&ARPA.as_bytes()[..end], "lm.arpa").is_err(), "{end}");
    }
    assert!(
        LanguageModel::read_arpa(&b"\xff\xfe\n"[..], "lm.arpa").unwrap_err().to_string().contains("UTF-8")
    );
}

/// Sentences of words that are the more rare the higher their number.
fn text(sentences: u64, words: u64) -> Vec<String> {
    let mut random = Random(7);
    let word = |random: &mut Random| {
        format!("w{}", random.below(words).min(random.below(words)).min(random.below(words)))
    };
    (0..sentences)
        .map(|_| (0..random.below(9)).map(|_| word(&mut random)).collect::<Vec<_>>().join(" "))
        .collect()
}

/// A plain generator of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn trained(order: usize, sentences: &[String]) -> Trained {
    let mut counts = Counts::new(order).unwrap();
    sentences.iter().for_each(|sentence| counts.add(sentence).unwrap());
    counts.train().unwrap()
}

#[test]
fn every_context_sums_to_one() {
    for order in 1..=LONGEST {
        let model = trained(order, &text(120, 25)).model;
        let all = || model.words().map(|(id, _)| id);
        let predicted: Vec<u32> = all().chain([model.unknown(), model.end()]).collect();
        let mut states = vec![State::nothing(), model.beginning()];
        for sentence in text(40, 26) {
            let mut state = model.beginning();
            for word in sentence.split_whitespace() {
                state = model.score(&state, model.id(word).unwrap_or(model.unknown())).1;
                states.push(state);
            }
        }
        for state in states {
            let sum: f64 = predicted.iter().map(|&id| 10_f64.powf(model.score(&state, id).0)).sum();
            assert!((sum - 1.0).abs() < 1e-5, "order {order}: {sum} after {state:?}");
        }
    }
}

#[test]
fn a_small_model_is_what_the_formulas_give() {
    // Adjusted counts of words: a 2 (after <s>, b), b 2 (after a, <s>), </s> 2 (after a, b); S = 6.
    // 2-grams: "<s> a" 2, "<s> b" 1, "a b" 1, "a </s>" 2, "b a" 1, "b </s>" 1. No discounts of their own: 0.5, 1, 1.5.
    let sentences = ["a b", "a", "b a"].map(str::to_owned);
    let Trained { model, notes } = trained(2, &sentences);
    assert_eq!(notes.len(), 2, "{notes:?}");
    // D(2) = 1 for all three words, so that half of the mass goes to a, b, </s>, <unk> alike.
    let unigram = (2.0 - 1.0) / 6.0 + 3.0 / 6.0 / 4.0;
    let after_start = |own: f64| own / 3.0 + (1.0 + 0.5) / 3.0 * unigram;
    let found = scores(&model, "a");
    let expected = [after_start(2.0 - 1.0), (2.0 - 1.0) / 3.0 + 1.5 / 3.0 * unigram];
    for (found, expected) in found.iter().zip(expected) {
        assert!((10_f64.powf(*found) - expected).abs() < 1e-6, "{found} {expected}");
    }
    let unknown = 10_f64.powf(model.score(&State::nothing(), model.unknown()).0);
    assert!((unknown - 0.125).abs() < 1e-6, "{unknown}");
}

#[test]
fn text_without_words_and_with_marks_is_refused() {
    assert!(Counts::new(0).is_err() && Counts::new(7).is_err());
    assert!(Counts::new(3).unwrap().train().unwrap_err().to_string().contains("no word"));
    let mut counts = Counts::new(3).unwrap();
    for mark in [START, END, UNKNOWN, "<UNK>"] {
        let message = counts.add(&format!("a {mark} b")).unwrap_err().to_string();
        assert!(message.starts_with(mark), "{message}");
    }
    counts.add("a").unwrap();
    assert_eq!(counts.train().unwrap().model.words().count(), 1);
}

#[test]
fn twelve_bytes_hold_an_n_gram() {
    let model = trained(4, &text(4000, 600)).model;
    let ngrams: u64 = model.counts().iter().sum();
    let each = model.bytes().len() as f64 / ngrams as f64;
    assert!(ngrams > 20_000 && each < 12.0, "{each} bytes, {ngrams} n-grams");
}
