//! Subtitles: words and their times as cues of a few short lines, and the two forms of files with them.

use std::fmt::Write as _;

use super::Word;

/// Characters of a line.
const LINE: usize = 42;
/// Lines of a cue.
const LINES: usize = 2;
/// Seconds of a cue at the most.
const LONGEST: f64 = 7.0;
/// Seconds that a cue stays at least, where the next one leaves it the time.
const SHORTEST: f64 = 1.0;
/// Seconds without a word that part two cues.
const PAUSE: f64 = 0.8;

/// A cue of subtitles.
#[derive(Debug, Clone, PartialEq)]
pub struct Cue {
    /// Seconds from the audio's beginning.
    pub start: f64,
    /// Later than `start`, and no later than the next cue's start.
    pub end: f64,
    /// One or two lines.
    pub lines: Vec<String>,
}

/// Parts the words (in the order of time) into cues: at pauses, and before a cue has more text or time than one
/// reads well.
pub fn cues(words: &[Word]) -> Vec<Cue> {
    let mut groups: Vec<Vec<&Word>> = Vec::new();
    for word in words {
        match groups.last_mut() {
            Some(group) if belongs(group, word) => group.push(word),
            _ => groups.push(vec![word]),
        }
    }
    let mut cues: Vec<Cue> = groups
        .iter()
        .map(|group| {
            let texts: Vec<&str> = group.iter().map(|word| word.word.as_str()).collect();
            let (start, end) = (group[0].start, group[group.len() - 1].end);
            Cue { start, end, lines: lines(&texts) }
        })
        .collect();
    for at in 0..cues.len() {
        let next = cues.get(at + 1).map_or(f64::INFINITY, |cue| cue.start);
        let cue = &mut cues[at];
        cue.end = cue.end.max(cue.start + SHORTEST).min(next).max(cue.start + 1e-3);
    }
    cues
}

/// Whether a cue can take another word.
fn belongs(group: &[&Word], word: &Word) -> bool {
    let (first, last) = (group[0], group[group.len() - 1]);
    let texts: Vec<&str> = group.iter().map(|w| w.word.as_str()).chain([word.word.as_str()]).collect();
    word.start - last.end < PAUSE && word.end - first.start <= LONGEST && fill(&texts, LINE).len() <= LINES
}

/// The words in lines of at most `width` characters, each as full as it can be; a longer word has its own.
fn fill(words: &[&str], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push((*word).to_owned()),
        }
    }
    lines
}

/// The fewest lines, of as equal lengths as they can be.
fn lines(words: &[&str]) -> Vec<String> {
    let fewest = fill(words, LINE).len();
    let widths = (1..=LINE).map(|width| fill(words, width));
    widths.into_iter().find(|lines| lines.len() <= fewest).unwrap_or_default()
}

/// `HH:MM:SS` and milliseconds behind `point`.
fn time(seconds: f64, point: char) -> String {
    let milliseconds = (seconds.max(0.0) * 1e3).round() as u64;
    let (hours, minutes) = (milliseconds / 3_600_000, milliseconds / 60_000 % 60);
    let (seconds, rest) = (milliseconds / 1000 % 60, milliseconds % 1000);
    format!("{hours:02}:{minutes:02}:{seconds:02}{point}{rest:03}")
}

/// The cues as SubRip (`.srt`).
pub fn srt(cues: &[Cue]) -> String {
    let mut text = String::new();
    for (number, cue) in (1..).zip(cues) {
        let (start, end) = (time(cue.start, ','), time(cue.end, ','));
        let _ = write!(text, "{number}\n{start} --> {end}\n{}\n\n", cue.lines.join("\n"));
    }
    text
}

/// The cues as WebVTT (`.vtt`).
pub fn vtt(cues: &[Cue]) -> String {
    let mut text = "WEBVTT\n\n".to_owned();
    for cue in cues {
        let lines = xml(&cue.lines.join("\n"));
        let (start, end) = (time(cue.start, '.'), time(cue.end, '.'));
        let _ = write!(text, "{start} --> {end}\n{lines}\n\n");
    }
    text
}

/// The words as a tier of intervals for Praat (`.TextGrid`), of audio that lasts `seconds`; what lies between words is
/// empty. Words are in the order of time and do not overlap; one that takes no time shares the interval before it.
pub fn textgrid(words: &[Word], seconds: f64) -> String {
    let seconds = words.last().map_or(seconds, |word| seconds.max(word.end));
    let mut intervals: Vec<(f64, f64, Vec<&str>)> = Vec::new();
    let (mut now, mut waiting) = (0.0, Vec::new());
    for word in words {
        if word.start > now {
            intervals.push((now, word.start, std::mem::take(&mut waiting)));
            now = word.start;
        }
        waiting.push(&*word.word);
        if word.end > now {
            intervals.push((now, word.end, std::mem::take(&mut waiting)));
            now = word.end;
        } else if let Some((.., shown)) = intervals.last_mut() {
            shown.append(&mut waiting);
        }
    }
    if seconds > now || intervals.is_empty() {
        intervals.push((now, seconds, waiting));
    }
    let mut text = format!(
        "File type = \"ooTextFile\"\nObject class = \"TextGrid\"\n\nxmin = 0\nxmax = {seconds}\ntiers? <exists>\n\
         size = 1\nitem []:\n    item [1]:\n        class = \"IntervalTier\"\n        name = \"words\"\n        xmin = 0\n        \
         xmax = {seconds}\n        intervals: size = {}\n",
        intervals.len()
    );
    for (number, (start, end, words)) in (1..).zip(intervals) {
        let word = words.join(" ").replace('"', "\"\"");
        let _ = write!(
            text,
            "        intervals [{number}]:\n            xmin = {start}\n            xmax = {end}\n            \
             text = \"{word}\"\n"
        );
    }
    text
}

/// The text as it stands in XML and WebVTT.
pub(crate) fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn word(word: &str, start: f64, end: f64) -> Word {
        Word { word: word.to_owned(), start, end, confidence: 1.0 }
    }

    #[test]
    fn pauses_part_cues_and_files_have_their_forms() {
        let words = [word("a<b", 0.25, 0.5), word("c", 0.6, 0.75), word("d", 3599.9996, 3600.0)];
        let cues = cues(&words);
        assert_eq!(cues.len(), 2);
        assert_eq!((cues[0].start, cues[0].end, &cues[0].lines[..]), (0.25, 1.25, &["a<b c".to_owned()][..]));
        assert_eq!(
            srt(&cues),
            "1\n00:00:00,250 --> 00:00:01,250\na<b c\n\n2\n01:00:00,000 --> 01:00:01,000\nd\n\n"
        );
        assert!(vtt(&cues).starts_with("WEBVTT\n\n00:00:00.250 --> 00:00:01.250\na&lt;b c\n\n"));
        assert_eq!((srt(&[]), vtt(&[])), (String::new(), "WEBVTT\n\n".to_owned()));
    }

    #[test]
    fn a_tier_covers_the_audio_without_gaps() {
        let words = [
            word("a", 0.25, 0.5),
            word("\"b\"", 0.5, 1.0),
            word("c", 1.0, 1.0),
            word("d", 1.5, 2.0),
            word("e", 2.5, 2.5),
        ];
        let tier = textgrid(&words, 2.5);
        let values = |key: &str| {
            let lines = tier.lines().filter_map(move |line| line.trim().strip_prefix(key));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(values("text = "), ["\"\"", "\"a\"", "\"\"\"b\"\" c\"", "\"\"", "\"d\"", "\"e\""]);
        let starts = values("xmin = ");
        assert_eq!(
            (starts[1..].join(" "), values("xmax = ")[1..].join(" ")),
            ("0 0 0.25 0.5 1 1.5 2".to_owned(), "2.5 0.25 0.5 1 1.5 2 2.5".to_owned(),)
        );
        assert!(tier.contains("intervals: size = 6\n"), "{tier}");
        assert!(textgrid(&[], 1.0).contains("intervals: size = 1\n"));
        assert!(textgrid(&[word("x", 0.0, 0.0)], 1.0).contains("xmax = 1\n            text = \"x\"\n"));
    }

    #[test]
    fn lines_are_of_one_length() {
        let words: Vec<&str> = "the quick brown fox jumps over the lazy dog again".split(' ').collect();
        assert_eq!(lines(&words), ["the quick brown fox jumps", "over the lazy dog again"]);
        assert_eq!(lines(&["short"]), ["short"]);
        let long = "x".repeat(60);
        assert_eq!(lines(&["a", &long]), ["a", &long]);
    }

    proptest! {
        #[test]
        fn cues_hold_every_word_and_never_overlap(
            steps in prop::collection::vec((0.0_f64..2.0, 0.0_f64..3.0, "[a-z]{1,50}"), 0..40),
        ) {
            let mut now = 0.0;
            let words: Vec<Word> = steps
                .iter()
                .map(|(pause, length, text)| {
                    let start = now + pause;
                    now = start + length;
                    word(text, start, now)
                })
                .collect();
            let cues = cues(&words);
            let shown: Vec<&str> = cues.iter().flat_map(|cue| &cue.lines).flat_map(|line| line.split(' ')).collect();
            let said: Vec<&str> = words.iter().map(|word| word.word.as_str()).collect();
            prop_assert_eq!(shown, said);
            for cue in &cues {
                prop_assert!(cue.end > cue.start && cue.lines.len() <= LINES);
                let fits = |line: &String| line.chars().count() <= LINE || !line.contains(' ');
                prop_assert!(cue.lines.iter().all(fits));
            }
            prop_assert!(cues.windows(2).all(|pair| pair[0].end <= pair[1].start + 1e-3));
        }
    }
}
