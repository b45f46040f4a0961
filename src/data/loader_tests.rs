use std::path::Path;

use hound::{SampleFormat, WavSpec, WavWriter};
use tempfile::TempDir;

use super::*;
use crate::audio::{BANDS, Normalization, Padding, Stats};
use crate::data::{BatchSize, ExampleConfig, Lengths, Segment, statistics, statistics_sample};
use crate::recipe::{BatchSeconds, BatchUtterances, Recipe};

const CLIPS: usize = 23;

fn write_clip(path: &Path, samples: usize, pitch: f32) {
    let spec =
        WavSpec { channels: 1, sample_rate: 16_000, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut writer = WavWriter::create(path, spec).expect("a temporary file");
    for i in 0..samples {
        writer.write_sample((8000.0 * (i as f32 * pitch).sin()) as i16).expect("a temporary file");
    }
    writer.finalize().expect("a temporary file");
}

/// Clips of 0.2 to 0.75 s with a manifest of their durations.
fn data() -> (TempDir, Arc<Corpus>) {
    let folder = TempDir::new().expect("a folder");
    let mut lines = String::new();
    for i in 0..CLIPS {
        let samples = 3200 + 400 * i;
        write_clip(&folder.path().join(format!("{i}.wav")), samples, 0.02 + 0.01 * i as f32);
        let seconds = samples as f64 / 16_000.0;
        lines +=
            &format!("{{\"audio_filepath\": \"{i}.wav\", \"duration\": {seconds}, \"text\": \"t{i}\"}}\n");
    }
    let manifest = folder.path().join("m.jsonl");
    std::fs::write(&manifest, lines).expect("a temporary file");
    let corpus = Corpus::load(&[manifest]).expect("a manifest");
    (folder, Arc::new(corpus))
}

fn config(order: Order) -> LoaderConfig {
    let stats = Stats { mean: vec![-50.0; BANDS], std: vec![20.0; BANDS] };
    let preprocessor = Preprocessor::new(0.1, Normalization::Global(stats), Padding::Masked);
    let buckets = BucketConfig { batch: BatchSize::Utterances(4), buckets: 3, group_by_length: true };
    LoaderConfig { threads: 2, ..LoaderConfig::new(preprocessor, buckets, order, 5) }
}

fn examples(corpus: &Corpus) -> Arc<Examples> {
    Arc::new(build(corpus, &ExampleConfig::default()))
}

fn build(corpus: &Corpus, config: &ExampleConfig) -> Examples {
    let lengths = Lengths::measure(corpus, true, &mut |_, _| Ok(())).expect("lengths");
    Examples::build(corpus, &lengths, config, 1).expect("examples")
}

fn start(corpus: &Arc<Corpus>, config: LoaderConfig, from: BatchIndex) -> Loader {
    let examples = examples(corpus);
    let cache = Arc::new(config.cache(&examples));
    Loader::start(Arc::clone(corpus), examples, cache, config, from).expect("a loader")
}

fn take(loader: &mut Loader, count: usize) -> Vec<Batch> {
    (0..count).map(|_| loader.next().expect("no end").expect("a batch")).collect()
}

#[test]
fn resuming_anywhere_gives_the_unbroken_sequence() {
    let (_folder, corpus) = data();
    for augmentation in [None, Some(Augmentation::default())] {
        let config = LoaderConfig { augmentation, ..config(Order::Shuffled) };
        // Six batches an epoch.
        let unbroken = take(&mut start(&corpus, config.clone(), BatchIndex::default()), 15);
        for at in [1usize, 5, 6, 11] {
            let settings = LoaderConfig { threads: 1, ..config.clone() };
            let (examples, nothing_kept) = (examples(&corpus), Arc::new(FeatureCache::new(0)));
            let from = unbroken[at - 1].index.following();
            let loader = Loader::start(Arc::clone(&corpus), examples, nothing_kept, settings, from);
            let resumed = take(&mut loader.expect("a loader"), 3);
            assert!(resumed == unbroken[at..at + 3], "from batch {at}");
        }
        assert_eq!((unbroken[5].index.epoch, unbroken[6].index), (0, BatchIndex { epoch: 1, batch: 0 }));
    }
}

/// The clips of `data` as strings of two speakers, drawn anew in every epoch.
fn concatenated(corpus: &mut Arc<Corpus>) -> Arc<Examples> {
    let changed = Arc::get_mut(corpus).expect("the only one");
    for (i, utterance) in changed.utterances.iter_mut().enumerate() {
        utterance.speaker = Some(format!("s{}", i % 2));
        match i {
            4 => utterance.text = Some(" ".to_owned()),
            5 => utterance.text = None,
            _ => {}
        }
    }
    let settings = ExampleConfig {
        string_seconds: Some(2.0),
        string_gap_seconds: [0.05, 0.3],
        string_whole: true,
        ..ExampleConfig::default()
    };
    Arc::new(build(corpus, &settings))
}

#[test]
fn strings_have_their_texts_and_resume_anywhere() {
    let (folder, mut corpus) = data();
    let examples = concatenated(&mut corpus);
    let from = |at, threads, augmentation| {
        let config = LoaderConfig { augmentation, threads, ..config(Order::Shuffled) };
        let cache = Arc::new(config.cache(&examples));
        Loader::start(corpus.clone(), examples.clone(), cache, config, at).expect("a loader")
    };
    let said = |parts: &[usize]| {
        let texts = parts.iter().filter(|&&id| ![4, 5].contains(&id)).map(|id| format!("t{id}"));
        texts.collect::<Vec<_>>().join(" ")
    };
    for augmentation in [None, Some(Augmentation::default())] {
        let unbroken = take(&mut from(BatchIndex::default(), 2, augmentation.clone()), 20);
        let mut drawn: [Vec<Vec<usize>>; 2] = Default::default();
        for batch in &unbroken {
            let rows = batch.utterances / (1 + usize::from(augmentation.is_some()));
            for (row, parts) in batch.ids.iter().enumerate() {
                let text = (!parts.is_empty() && parts[..] != [5]).then(|| said(parts));
                assert_eq!(batch.texts[row], text, "{parts:?}");
                if let Some(list) = drawn.get_mut(batch.index.epoch as usize)
                    && row < rows
                    && !parts.is_empty()
                {
                    list.push(parts.clone());
                }
            }
        }
        assert!(unbroken[19].index.epoch >= 2);
        assert!(drawn[0].iter().any(|parts| parts.len() > 1) && drawn[0] != drawn[1], "{drawn:?}");
        for list in drawn {
            let mut seen = list.concat();
            seen.sort_unstable();
            assert_eq!(seen, (0..CLIPS).collect::<Vec<_>>());
        }
        for at in [1, 6, 13] {
            let mut resumed = from(unbroken[at - 1].index.following(), 1, augmentation.clone());
            assert!(take(&mut resumed, 5) == unbroken[at..at + 5], "from batch {at}");
            assert_eq!(resumed.batches_per_epoch(), from(BatchIndex::default(), 1, None).batches_per_epoch());
        }
    }
    // A file that is gone takes its word along, and no other.
    std::fs::remove_file(folder.path().join("3.wav")).expect("a file");
    let mut loader = from(BatchIndex::default(), 2, None);
    for batch in take(&mut loader, 12) {
        for (parts, text) in batch.ids.iter().zip(&batch.texts).filter(|(parts, _)| parts[..] != [5]) {
            assert!(!parts.contains(&3));
            assert_eq!(text.as_deref().unwrap_or_default(), said(parts));
        }
    }
    assert_eq!(loader.left_out().to_string(), "1 unreadable");
}

#[test]
fn one_sorted_epoch_holds_every_row_once_with_its_features() {
    let (_folder, corpus) = data();
    let config = config(Order::Sorted);
    let preprocessor = config.preprocessor.clone();
    let shapes = config.shapes(&examples(&corpus)).expect("shapes");
    let mut loader = start(&corpus, config, BatchIndex::default());
    let mut seen = [false; CLIPS];
    assert_eq!((shapes.len(), loader.batches_per_epoch()), (3, 6));
    while let Some(batch) = loader.next() {
        let batch = batch.expect("a batch");
        assert!(shapes.contains(&(batch.utterances, batch.frames)));
        for row in 0..batch.utterances {
            let features = &batch.features[row * batch.frames * BANDS..(row + 1) * batch.frames * BANDS];
            let Some(&id) = batch.ids[row].first() else {
                assert!(
                    batch.lengths[row] == 0
                        && batch.texts[row].is_none()
                        && features.iter().all(|&x| x == 0.0)
                );
                continue;
            };
            assert!(!std::mem::replace(&mut seen[id], true));
            assert_eq!(batch.texts[row], Some(format!("t{id}")));
            let waveform = corpus.utterances[id].audio.read().expect("a waveform").samples;
            let alone = preprocessor.batch(&[waveform]).expect("a batch");
            assert_eq!(batch.lengths[row] as usize, alone.frames);
            let (valid, rest) = features.split_at(alone.features.len());
            assert!(valid == alone.features && rest.iter().all(|&x| x == 0.0));
        }
    }
    assert!(seen.iter().all(|&s| s) && loader.next().is_none());
}

#[test]
fn augmented_copies_stand_in_the_second_half() {
    let (_folder, corpus) = data();
    let plain = take(&mut start(&corpus, config(Order::Shuffled), BatchIndex::default()), 1);
    let config = LoaderConfig { augmentation: Some(Augmentation::default()), ..config(Order::Shuffled) };
    let shapes = config.shapes(&examples(&corpus)).expect("shapes");
    assert!(shapes.iter().all(|&(utterances, _)| utterances == 8));
    let mut loader = start(&corpus, config, BatchIndex::default());
    for batch in take(&mut loader, 12) {
        let half = batch.features.len() / 2;
        assert_eq!((&batch.ids[..4], &batch.texts[..4]), (&batch.ids[4..], &batch.texts[4..]));
        assert_ne!(batch.features[..half], batch.features[half..]);
    }
    assert!(plain[0].audio_seconds > 0.5);
}

#[test]
fn reference_padding_fills_the_bucket() {
    let (_folder, corpus) = data();
    for padding in [Padding::ReferencePretrain, Padding::ReferenceFinetune] {
        let mut config = config(Order::Sorted);
        config.preprocessor.padding = padding;
        let mut loader = start(&corpus, config, BatchIndex::default());
        let batch = loader.next().expect("a batch").expect("a batch");
        // The padding is silence at -80 dB below the loudest or -100 dB, never zero.
        assert!(batch.features.iter().all(|&x| x != 0.0));
        assert!(batch.lengths.iter().all(|&n| n > 0 && n % 4 == 0 && n as usize <= batch.frames));
    }
}

#[test]
fn bad_files_are_errors_or_counted() {
    let (folder, corpus) = data();
    // All is well when the batches are planned.
    let examples = examples(&corpus);
    let start = |config: LoaderConfig| {
        let (corpus, examples, cache) = (Arc::clone(&corpus), Arc::clone(&examples), config.cache(&examples));
        Loader::start(corpus, examples, Arc::new(cache), config, BatchIndex::default()).expect("a loader")
    };
    std::fs::write(folder.path().join("3.wav"), b"").expect("a temporary file");
    std::fs::write(folder.path().join("7.wav"), b"no audio").expect("a temporary file");
    write_clip(&folder.path().join("9.wav"), 40_000, 0.1);
    write_clip(&folder.path().join("11.wav"), 1, 0.1);
    write_clip(&folder.path().join("13.wav"), 3200, 0.1);
    let mut loader = start(config(Order::Sorted));
    let (mut rows, mut seconds) = (0, 0.0);
    while let Some(batch) = loader.next() {
        let batch = batch.expect("a batch");
        rows += batch.ids.iter().flatten().count();
        seconds += batch.audio_seconds;
    }
    assert_eq!(rows, CLIPS - 4);
    assert_eq!(loader.left_out().to_string(), "2 unreadable, 1 too short, 1 too long");
    for (_, left_out) in loader.left_out().iter() {
        assert!(
            left_out.origin.contains("m.jsonl:") && left_out.to_string().contains(".wav: "),
            "{left_out}"
        );
    }
    // The clip that is shorter now counts by its own length.
    let differing = loader.take_differing();
    let [differing] = &differing[..] else { panic!("{differing:?}") };
    assert!(
        differing.to_string().contains("13.wav") && differing.origin.ends_with("m.jsonl:14"),
        "{differing}"
    );
    let samples: usize = (0..CLIPS).filter(|i| ![3, 7, 9, 11, 13].contains(i)).map(|i| 3200 + 400 * i).sum();
    assert!((seconds - (samples + 3200) as f64 / 16_000.0).abs() < 1e-6);
    let mut loader = start(LoaderConfig { strict: true, ..config(Order::Sorted) });
    let failure = std::iter::from_fn(|| loader.next()).find_map(Result::err).expect("an error");
    assert!(failure.to_string().contains("3.wav"), "{failure}");
    for i in 0..CLIPS {
        std::fs::remove_file(folder.path().join(format!("{i}.wav"))).expect("a file");
    }
    let mut loader = start(config(Order::Shuffled));
    assert!(loader.next().expect("an answer").is_err());
    assert!(start(config(Order::Sorted)).next().is_none(), "an epoch of nothing ends");
}

#[test]
fn statistics_normalize_the_data_and_stop_on_request() {
    let (_folder, corpus) = data();
    let examples = examples(&corpus);
    let mut preprocessor = config(Order::Sorted).preprocessor;
    let mut told = Vec::new();
    let mut progress = |done, total| {
        told.push((done, total));
        Ok(())
    };
    let mut left_out = Exclusions::default();
    let sample = statistics_sample(&examples);
    assert_eq!(sample, (0..CLIPS).collect::<Vec<_>>());
    let stats = statistics(&corpus, &examples, &sample, &preprocessor, true, &mut left_out, &mut progress);
    let stats = stats.expect("statistics");
    assert_eq!(told, [(CLIPS, CLIPS)]);
    preprocessor.normalization = Normalization::Global(stats);
    let mut sums = crate::audio::Accumulator::default();
    for utterance in &corpus.utterances {
        let waveform = utterance.audio.read().expect("a waveform").samples;
        sums.add(&preprocessor.features(&waveform).data);
    }
    let again = sums.stats().expect("frames");
    assert!(again.mean.iter().all(|m| m.abs() < 1e-4) && again.std.iter().all(|s| (s - 1.0).abs() < 1e-4));
    let mut stop = |_, _| Err(Error::Interrupted);
    assert!(matches!(
        statistics(&corpus, &examples, &sample, &preprocessor, true, &mut left_out, &mut stop),
        Err(Error::Interrupted)
    ));
}

#[test]
fn an_hour_stands_for_more() {
    let list = |hours: usize| Examples {
        list: (0..hours * 360).map(|at| Example::whole(at, 160_000)).collect(),
        ..Examples::default()
    };
    assert_eq!(statistics_sample(&list(1)).len(), 360);
    // Of 1.5 hours every second, of 960 every 960th.
    assert_eq!(statistics_sample(&Examples { list: list(3).list[..540].to_vec(), ..list(3) }).len(), 270);
    let sample = statistics_sample(&list(960));
    assert_eq!((sample.len(), &sample[..3]), (360, &[0, 960, 1920][..]));
}

/// Windows of a recording, among recordings of one example and of concatenated clips.
#[test]
fn windows_of_a_recording_are_found() {
    let window = |utterance, start| Segment { utterance, gap: 0, start, samples: 10, open: false };
    let example = |segments: Vec<Segment>| Example { segments, samples: 10, stated: false };
    let list = vec![
        Example::whole(0, 10),
        example(vec![window(1, 0)]),
        example(vec![window(1, 10)]),
        example(vec![window(1, 15)]),
        Example::whole(2, 10),
        example(vec![window(3, 0), window(4, 0)]),
        example(vec![window(3, 10), window(4, 10)]),
        example(vec![window(5, 0)]),
        example(vec![window(5, 10)]),
    ];
    let found = windows(&Examples { list, ..Examples::default() });
    assert_eq!(found, HashMap::from([(1, vec![1, 2, 3]), (5, vec![7, 8])]));
}

#[test]
fn real_speech_makes_batches_of_few_shapes() {
    let Some(shared) = crate::audio::golden::shared() else { return };
    let sources =
        [shared.join("data/fsdd/train-10pct.jsonl"), shared.join("data/librispeech-251/unlabelled.jsonl")];
    if sources.iter().any(|source| !source.exists()) {
        eprintln!("skipped: no speech in {}", shared.display());
        return;
    }
    let mut corpus = Corpus::load(&sources).expect("the manifests");
    corpus.utterances.truncate(252);
    let settings = ExampleConfig {
        window_seconds: Some(4.0),
        string_seconds: Some(4.0),
        string_gap_seconds: [0.2; 2],
        min_seconds: 1.0,
        ..ExampleConfig::default()
    };
    let examples = Arc::new(build(&corpus, &settings));
    let settings = LoaderConfig { strict: true, ..config(Order::Shuffled) };
    let [kept, nothing_kept] = [settings.cache(&examples), FeatureCache::new(0)].map(|cache| {
        let (corpus, cache) = (Arc::new(corpus.clone()), Arc::new(cache));
        let loader =
            Loader::start(corpus, Arc::clone(&examples), cache, settings.clone(), BatchIndex::default());
        take(&mut loader.expect("a loader"), 10)
    });
    assert!(kept == nothing_kept && kept.iter().all(|b| b.features.iter().all(|x| x.is_finite())));
}

#[test]
fn a_corpus_far_larger_than_the_cache_has_none() {
    let hour = 3600 * SAMPLE_RATE as usize;
    let examples = Examples { list: vec![Example::whole(0, hour); 60], ..Examples::default() };
    assert!(!config(Order::Shuffled).cache(&examples).has_room(1));
}

#[test]
fn the_recipes_pad_little_of_what_is_strung_or_cut() {
    let Some(shared) = crate::audio::golden::shared() else { return };
    let source = shared.join("data/librispeech-251/unlabelled.jsonl");
    if !source.exists() {
        eprintln!("skipped: no speech in {}", shared.display());
        return;
    }
    let corpus = Corpus::load(&[source]).expect("the manifest");
    for name in ["fsdd", "kathleen", "librispeech-base", "librispeech-large"] {
        let path = format!("{}/recipes/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let data = Recipe::load::<&str>(path, &[]).expect("a recipe").pretrain.data;
        let settings = ExampleConfig {
            min_seconds: data.min_seconds,
            max_seconds: Some(data.max_seconds),
            window_seconds: data.window_seconds,
            string_seconds: data.string_seconds,
            string_gap_seconds: data.string_gap_seconds.range(),
            string_whole: false,
        };
        let examples = build(&corpus, &settings);
        let batch = match (data.batch_utterances, data.batch_seconds) {
            (Some(BatchUtterances::Same(rows)), _) => BatchSize::Utterances(rows),
            (_, Some(BatchSeconds::Given(seconds))) => BatchSize::Seconds(seconds),
            other => panic!("{name}: {other:?}"),
        };
        let buckets = BucketConfig { batch, buckets: data.buckets, group_by_length: data.group_by_length };
        let preprocessor = Preprocessor::new(0.0, Normalization::Sentence, Padding::Masked);
        let padding = LoaderConfig::new(preprocessor, buckets, Order::Shuffled, 0).padding(&examples);
        let padding = padding.expect("a share");
        println!("{name}: {:.1} % of {} examples", 100.0 * padding, examples.list.len());
        assert!((0.0..=0.05).contains(&padding), "{name}: {padding}");
    }
}
