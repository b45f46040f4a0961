//! Short clips of one speaker, concatenated: to stretches of one length, or whole with their texts.

use super::examples::{Example, Segment, slack};
use crate::rng::{Rng, stream};

/// A short clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Clip {
    /// Index in the corpus.
    pub utterance: usize,
    /// Expected length at 16 kHz.
    pub samples: usize,
}

/// What strings are made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Strings {
    /// The clips of each speaker, whom a hash stands for.
    pub speakers: Vec<(u32, Vec<Clip>)>,
    /// Samples of a string, at most.
    pub target: usize,
    /// Fewest and most samples of silence between clips.
    pub gap: [usize; 2],
    /// Whether the length of any clip is the manifest's word alone.
    pub stated: bool,
    pub seed: u32,
}

impl Strings {
    /// The most samples that a clip may turn out to have.
    fn room(&self, clip: &Clip) -> usize {
        clip.samples + slack(self.stated)
    }

    /// Stretches of exactly `target` samples, which part clips where they end.
    pub fn stretches(&self) -> Vec<Example> {
        let of = |(speaker, clips): &(u32, Vec<Clip>)| {
            let mut clips = clips.clone();
            Rng::new(&[self.seed, stream("string"), *speaker]).shuffle(&mut clips);
            let mut rng = Rng::new(&[self.seed, stream("string gap"), *speaker]);
            let clips: Vec<_> = clips
                .iter()
                .map(|clip| (clip.utterance, between(self.gap, &mut rng), clip.samples))
                .collect();
            stretches(&clips, self.target)
        };
        self.speakers.iter().flat_map(of).collect()
    }

    /// Whole clips, each once, as they are drawn for an epoch: strings of any length up to `target`, so that a model
    /// meets words alone as well as in long rows. Half of them begin with a gap, as a microphone is open before one
    /// speaks.
    pub fn whole(&self, epoch: u32) -> Vec<Example> {
        let mut strings: Vec<Example> = Vec::new();
        for (speaker, clips) in &self.speakers {
            let mut rng = Rng::new(&[self.seed, stream("string"), *speaker, epoch]);
            let mut order: Vec<&Clip> = clips.iter().collect();
            rng.shuffle(&mut order);
            // The last string of the speaker before takes nothing more.
            let (mut length, mut filled) = (0, 0);
            for clip in order {
                let gap = between(self.gap, &mut rng);
                let segment = |gap| Segment {
                    utterance: clip.utterance,
                    gap,
                    start: 0,
                    samples: clip.samples,
                    open: true,
                };
                match strings.last_mut().filter(|_| filled > 0 && filled + gap + self.room(clip) <= length) {
                    Some(string) => {
                        string.segments.push(segment(gap));
                        string.samples += gap + clip.samples;
                        filled += gap + self.room(clip);
                    }
                    None => {
                        length = (f64::from(rng.unit()) * self.target as f64) as usize;
                        let most =
                            if rng.below(2) == 1 { self.target.saturating_sub(self.room(clip)) } else { 0 };
                        let gap = gap.min(most);
                        filled = gap + self.room(clip);
                        let (segments, samples, stated) =
                            (vec![segment(gap)], gap + clip.samples, self.stated);
                        strings.push(Example { segments, samples, stated });
                    }
                }
            }
        }
        strings
    }

    /// The most samples that a batch needs room for, in any epoch.
    pub fn longest(&self) -> usize {
        let clips = self.speakers.iter().flat_map(|(_, clips)| clips);
        clips.map(|clip| self.room(clip).max(self.target)).max().unwrap_or(0)
    }

    /// A bound of the tokens in the text of a string, in any epoch; `tokens(utterance)` are those of a clip's text, and
    /// another parts two texts.
    pub fn most_tokens(&self, tokens: &dyn Fn(usize) -> usize) -> usize {
        let of = |(_, clips): &(u32, Vec<Clip>)| {
            let mut clips: Vec<(f64, f64)> = clips
                .iter()
                .filter_map(|clip| {
                    let tokens = tokens(clip.utterance);
                    (tokens > 0).then(|| ((tokens + 1) as f64, (self.room(clip) + self.gap[0]) as f64))
                })
                .collect();
            clips.sort_by(|a, b| (b.0 * a.1).total_cmp(&(a.0 * b.1)));
            // As if the densest clips came first, and the last of them in part.
            let (mut sum, mut left) = (0.0, (self.target + self.gap[0]) as f64);
            for (tokens, samples) in clips {
                let part = (left / samples).min(1.0);
                (sum, left) = (sum + part * tokens, left - part * samples);
            }
            sum.ceil() as usize
        };
        self.speakers.iter().map(of).max().unwrap_or(0)
    }
}

fn between([low, high]: [usize; 2], rng: &mut Rng) -> usize {
    // A fixed gap draws nothing.
    if low < high { low + rng.below(high - low + 1) } else { low }
}

/// Consecutive stretches of exactly `target` samples over the clips `(utterance, gap, samples)`, each after its
/// gap of silence; the last stretch goes on with the first clips again. Clips that are less than `target`
/// together make one.
fn stretches(clips: &[(usize, usize, usize)], target: usize) -> Vec<Example> {
    let clips: Vec<_> = clips.iter().filter(|&&(_, _, samples)| samples > 0).collect();
    let total: usize = clips.iter().map(|&(_, gap, samples)| gap + samples).sum();
    let target = target.min(total);
    let mut parts = clips.into_iter().cycle();
    // What is left of the clip at hand: (utterance, gap, start, samples).
    let mut current: Option<(usize, usize, usize, usize)> = None;
    let mut stretch = || {
        let (mut segments, mut missing) = (Vec::new(), target);
        while missing > 0 {
            let next = current
                .take()
                .or_else(|| parts.next().map(|&(utterance, gap, samples)| (utterance, gap, 0, samples)));
            let Some((utterance, gap, start, left)) = next else { break };
            let silent = gap.min(missing);
            let taken = left.min(missing - silent);
            segments.push(Segment { utterance, gap: silent, start, samples: taken, open: false });
            missing -= silent + taken;
            current = (left > taken).then_some((utterance, gap - silent, start + taken, left - taken));
        }
        Example { segments, samples: target, stated: false }
    };
    (0..total.div_ceil(target.max(1))).map(|_| stretch()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(gap: [usize; 2]) -> Strings {
        let clip = |i: usize| Clip { utterance: i, samples: 4000 + 40 * i };
        let speakers = vec![(1, (0..40).map(clip).collect()), (2, (40..70).map(clip).collect())];
        Strings { speakers, target: 64_000, gap, stated: true, seed: 3 }
    }

    #[test]
    fn whole_clips_come_once_an_epoch_and_fit() {
        let all = strings([1600, 32_000]);
        for epoch in 0..4 {
            let drawn = all.whole(epoch);
            assert_eq!(drawn, all.whole(epoch));
            assert_ne!(drawn, all.whole(epoch + 1));
            let mut seen: Vec<usize> =
                drawn.iter().flat_map(|string| &string.segments).map(|segment| segment.utterance).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..70).collect::<Vec<_>>());
            for string in &drawn {
                let parts = &string.segments;
                assert!(parts.iter().all(|part| (part.utterance < 40) == (parts[0].utterance < 40)));
                assert!(
                    parts[1..].iter().all(|p| (1600..=32_000).contains(&p.gap)) && parts[0].gap <= 32_000
                );
                assert!(parts.iter().all(|part| part.open && part.start == 0));
                assert_eq!(string.samples, parts.iter().map(|part| part.gap + part.samples).sum::<usize>());
                assert!(string.longest() <= all.longest() && string.samples <= all.target, "{string:?}");
            }
            // Words alone, and several.
            let lengths: Vec<usize> = drawn.iter().map(|string| string.segments.len()).collect();
            assert!(lengths.contains(&1) && lengths.iter().any(|&length| length >= 3), "{lengths:?}");
            let begin = drawn.iter().filter(|string| string.segments[0].gap > 0).count();
            assert!((drawn.len() / 4..3 * drawn.len() / 4).contains(&begin), "{begin} of {}", drawn.len());
        }
        assert_ne!(all.whole(0), Strings { seed: 4, ..all.clone() }.whole(0));
    }

    #[test]
    fn no_string_has_more_tokens_than_the_bound() {
        let tokens = |utterance: usize| utterance % 7;
        for gap in [[0, 0], [1600, 4000]] {
            let all = strings(gap);
            let bound = all.most_tokens(&tokens);
            let of = |string: &Example| {
                let texts = string.segments.iter().map(|part| tokens(part.utterance)).filter(|&n| n > 0);
                texts.clone().sum::<usize>() + texts.count().saturating_sub(1)
            };
            let most = (0..200).flat_map(|epoch| all.whole(epoch)).map(|s| of(&s)).max().unwrap();
            assert!(most <= bound && bound <= 3 * most, "{most} of {bound}");
        }
        assert_eq!(Strings::default().most_tokens(&tokens), 0);
    }

    #[test]
    fn gaps_of_stretches_are_drawn_where_they_are_a_range() {
        let fixed = strings([800, 800]).stretches();
        let gaps = |list: &[Example]| -> Vec<usize> {
            let mut gaps = vec![0; 70];
            for segment in list.iter().flat_map(|example| &example.segments) {
                gaps[segment.utterance] += segment.gap;
            }
            gaps
        };
        // What starts the last stretch again comes twice.
        assert!(gaps(&fixed).iter().all(|&gap| (800..=1600).contains(&gap)));
        let drawn = gaps(&strings([800, 8000]).stretches());
        assert!(drawn.iter().all(|&gap| (800..=16_000).contains(&gap)));
        assert!(drawn.iter().any(|&gap| gap > 4000) && drawn.iter().any(|&gap| gap < 4000));
    }
}
