//! Cards by their public figures: the table that comes along, and files of one's own.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Error, Result};
use crate::gpu::{Capabilities, DeviceClass, MatrixSize, Vendor};
use crate::recipe::{line, one_line};

const TABLE: &str = include_str!("gpus.toml");

/// Peak rates of a card, and the shares that kernels reach.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// Its name, for people.
    pub name: String,
    /// Whether it shares its memory with the CPU.
    pub integrated: bool,
    /// 10¹² operations a second in f32, two a multiply-add.
    pub f32_tflops: f64,
    /// The same in f16; 0 where shaders have no f16.
    pub f16_tflops: f64,
    /// The same of its matrix units, f16 with sums in f32; 0 where it has none.
    pub matrix_tflops: f64,
    /// 10⁹ bytes a second from and to memory.
    pub bandwidth_gbps: f64,
    /// GiB of memory for the GPU.
    pub memory_gib: f64,
    /// MiB of its last cache.
    pub cache_mib: f64,
    /// Multiprocessors, compute units or cores: what runs a workgroup.
    pub units: f64,
    /// Fewest and most invocations of a subgroup; 0 where unknown.
    pub subgroup: [u32; 2],
    /// Rows and columns of its matrices; 0 where kernels cannot use them.
    pub matrix: u32,
    /// MiB that a kernel binds at most as one buffer.
    pub max_binding_mib: f64,
    /// What matmuls by plain kernels reach of `f32_tflops`.
    pub vector_share: f64,
    /// What matmuls by cooperative matrices reach of `matrix_tflops`.
    pub matrix_share: f64,
    /// What other kernels reach of `bandwidth_gbps`.
    pub memory_share: f64,
    /// Microseconds from the end of a dispatch to the next one's work.
    pub launch_us: f64,
    /// By what share times on the card were seen to differ from those modelled at most; 0 where none were.
    pub accuracy: f64,
}

impl Default for Card {
    /// Shares as on most cards that were seen: matmuls by plain kernels and the rest as on the H100, matrices a third of
    /// their peak, as others' kernels of this form reach on GeForce and Radeon cards.
    fn default() -> Self {
        Self {
            name: String::new(),
            integrated: false,
            f32_tflops: 0.0,
            f16_tflops: 0.0,
            matrix_tflops: 0.0,
            bandwidth_gbps: 0.0,
            memory_gib: 0.0,
            cache_mib: 4.0,
            units: 32.0,
            subgroup: [0, 0],
            matrix: 0,
            max_binding_mib: 128.0,
            vector_share: 0.687,
            matrix_share: 0.33,
            memory_share: 0.62,
            launch_us: 8.0,
            accuracy: 0.0,
        }
    }
}

impl Card {
    /// The card of the table under `name`, or else of the TOML file `name`.
    ///
    /// # Errors
    /// [`Error::Usage`] with file, line, key and remedy when the file is no card; when there is neither.
    pub fn load(name: &str) -> Result<Self> {
        let document = parse("the table of GPUs", TABLE)?;
        let wanted = name.trim().to_lowercase();
        if let Some((_, table)) = document.get_ref().iter().find(|(key, _)| key.get_ref().as_ref() == wanted)
            && let DeValue::Table(table) = table.get_ref()
        {
            return Self::read("the table of GPUs", TABLE, table);
        }
        let path = Path::new(name);
        if !path.exists() {
            return Err(Error::usage(format!(
                "{}: no such GPU or file; give {}, or a TOML file of a card",
                one_line(name),
                names().join(", ")
            )));
        }
        let refuse = |error: std::io::Error| {
            Error::file(path, format!("cannot read the card: {error}; give a TOML file"))
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(refuse)?;
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(refuse)?;
        let text = String::from_utf8(bytes).ok().filter(|text| text.len() as u64 <= LARGEST);
        let text = text.ok_or_else(|| {
            Error::usage(format!("{name}: no text of at most 1 MiB; give a TOML file of a card"))
        })?;
        Self::parse(name, &text)
    }

    /// The card that `text` of the file `name` describes.
    ///
    /// # Errors
    /// [`Error::Usage`] with file, line, key and remedy.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        Self::read(name, text, parse(name, text)?.get_ref())
    }

    fn read(name: &str, text: &str, table: &DeTable<'_>) -> Result<Self> {
        let mut card = Self::default();
        let mut given: Vec<&str> = Vec::new();
        for (key, value) in table {
            let (key, at) = (key.get_ref().as_ref(), line(text, key.span().start));
            let refuse = |what: String| Error::usage(format!("{name}:{at}: {}: {what}", one_line(key)));
            card.set(key, value.get_ref()).map_err(refuse)?;
            given.extend(REQUIRED.iter().find(|&&required| required == key));
        }
        if let Some(missing) = REQUIRED.iter().find(|required| !given.contains(required)) {
            let last = text.lines().count().max(1);
            return Err(Error::usage(format!("{name}:{last}: {missing} is missing; add {missing} = …")));
        }
        if (card.matrix == 0) != (card.matrix_tflops == 0.0) {
            return Err(Error::usage(format!(
                "{name}:1: matrix and matrix_tflops go together; give both, or neither where kernels cannot use \
                 matrices"
            )));
        }
        Ok(card)
    }

    /// Sets one key.
    fn set(&mut self, key: &str, value: &DeValue<'_>) -> Result<(), String> {
        let within = |range: std::ops::RangeInclusive<f64>, what: &str| {
            let (low, high) = (*range.start(), *range.end());
            let number = number(value).filter(|number| range.contains(number));
            number.ok_or_else(|| format!("give {what} from {low} to {high}"))
        };
        let rate = || within(0.001..=1e6, "10¹² operations a second");
        let share = || within(0.001..=1.0, "a share");
        match key {
            "name" => {
                let text = value.as_str().map(one_line).filter(|text| !text.is_empty());
                self.name = text.ok_or("give a text in quotes")?;
            }
            "integrated" => self.integrated = value.as_bool().ok_or("give true or false")?,
            "f32_tflops" => self.f32_tflops = rate()?,
            "f16_tflops" => self.f16_tflops = rate()?,
            "matrix_tflops" => self.matrix_tflops = rate()?,
            "bandwidth_gbps" => self.bandwidth_gbps = within(0.01..=1e6, "10⁹ bytes a second")?,
            "memory_gib" => self.memory_gib = within(0.01..=1e6, "GiB")?,
            "cache_mib" => self.cache_mib = within(0.0..=1e6, "MiB")?,
            "units" => self.units = within(1.0..=1e5, "a number")?,
            "subgroup" => {
                let size = |value: &Spanned<DeValue<'_>>| {
                    number(value.get_ref()).filter(|size| [4.0, 8.0, 16.0, 32.0, 64.0, 128.0].contains(size))
                };
                let sizes: Option<Vec<f64>> = value.as_array().and_then(|all| all.iter().map(size).collect());
                match sizes.as_deref() {
                    Some(&[low, high]) if low <= high => self.subgroup = [low as u32, high as u32],
                    _ => return Err("give the fewest and the most invocations, as [32, 64]".to_owned()),
                }
            }
            "matrix" => {
                let edge = number(value).filter(|edge| [8.0, 16.0].contains(edge));
                self.matrix = edge.ok_or("give 8 or 16, or leave it out")? as u32;
            }
            "max_binding_mib" => self.max_binding_mib = within(16.0..=1e6, "MiB")?,
            "vector_share" => self.vector_share = share()?,
            "matrix_share" => self.matrix_share = share()?,
            "memory_share" => self.memory_share = share()?,
            "launch_us" => self.launch_us = within(0.0..=1e5, "microseconds")?,
            "accuracy" => self.accuracy = share()?,
            _ => return Err(format!("no such key; the keys are {}", KEYS.join(", "))),
        }
        Ok(())
    }

    /// What kernels are chosen by on such a card, through wgpu.
    pub fn capabilities(&self) -> Capabilities {
        let [low, high] = self.subgroup;
        let fixed = low == high && low > 0;
        // As an adapter's: matrices need f16 in shaders, and subgroups of one size.
        let cooperative = match self.matrix {
            8 => Some(MatrixSize::Eight),
            16 => Some(MatrixSize::Sixteen),
            _ => None,
        };
        let max_binding = (self.max_binding_mib * f64::from(1 << 20)) as u64;
        Capabilities {
            adapter: self.name.clone(),
            backend: "modelled".to_owned(),
            class: if self.integrated { DeviceClass::Integrated } else { DeviceClass::Discrete },
            vendor: Vendor::new(0, &self.name),
            subgroup: low,
            subgroup_most: high,
            subgroup_operations: fixed,
            cooperative: cooperative.filter(|_| fixed && self.f16_tflops > 0.0),
            max_binding,
            max_buffer: max_binding,
            ..Capabilities::assumed()
        }
    }

    /// Bytes of its memory.
    pub fn memory(&self) -> u64 {
        (self.memory_gib * f64::from(1 << 30)) as u64
    }
}

/// Bytes of a file of a card at most.
const LARGEST: u64 = 1 << 20;
const REQUIRED: [&str; 4] = ["name", "f32_tflops", "bandwidth_gbps", "memory_gib"];
const KEYS: [&str; 17] = [
    "name",
    "integrated",
    "f32_tflops",
    "f16_tflops",
    "matrix_tflops",
    "bandwidth_gbps",
    "memory_gib",
    "cache_mib",
    "units",
    "subgroup",
    "matrix",
    "max_binding_mib",
    "vector_share",
    "matrix_share",
    "memory_share",
    "launch_us",
    "accuracy",
];

/// The names of the table.
pub fn names() -> Vec<String> {
    let document = DeTable::parse(TABLE).ok();
    let keys = document.iter().flat_map(|document| document.get_ref().keys());
    keys.map(|key| key.get_ref().to_string()).collect()
}

fn parse<'a>(name: &str, text: &'a str) -> Result<Spanned<DeTable<'a>>> {
    DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(1, |span| line(text, span.start));
        Error::usage(format!("{name}:{at}: not TOML: {}", one_line(error.message())))
    })
}

/// A finite number, whole or not.
fn number(value: &DeValue<'_>) -> Option<f64> {
    let text = match value {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
        DeValue::Float(number) => number.as_str(),
        _ => return None,
    };
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_card_of_the_table_is_read() {
        let names = names();
        assert_eq!(names, ["arc-b580", "h100", "m4-max", "rtx4090", "rx7900xtx"]);
        for name in names {
            let card = Card::load(&name).unwrap();
            assert!(card.f32_tflops > 1.0 && card.memory() > 1 << 30, "{name}");
        }
        let h100 = Card::load("H100").unwrap().capabilities();
        assert_eq!((h100.cooperative, h100.subgroup), (Some(MatrixSize::Sixteen), 32));
        assert_eq!(h100.max_binding, 4095 << 20);
        assert_eq!(Card::load("arc-b580").unwrap().capabilities().cooperative, None);
        assert_eq!(Card::load("m4-max").unwrap().capabilities().class, DeviceClass::Integrated);
    }

    #[test]
    fn cards_that_are_none_are_refused_with_line_and_key() {
        let refused = |text: &str| Card::parse("my.toml", text).unwrap_err().to_string();
        let good = "name = \"mine\"\nf32_tflops = 10\nbandwidth_gbps = 1_00.5\nmemory_gib = 8\n";
        let card = Card::parse("my.toml", good).unwrap();
        assert_eq!((card.f32_tflops, card.bandwidth_gbps, card.launch_us), (10.0, 100.5, 8.0));
        assert_eq!(card.capabilities().max_binding, 128 << 20);
        for (text, part) in [
            ("f32_tflop = 3\n", "my.toml:5: f32_tflop: no such key; the keys are name, "),
            ("launch_us = \"8\"\n", "my.toml:5: launch_us: give microseconds from 0 to 100000"),
            ("vector_share = 1.5\n", "my.toml:5: vector_share: give a share from 0.001 to 1"),
            ("accuracy = nan\n", "my.toml:5: accuracy: give a share"),
            ("units = inf\n", "my.toml:5: units: give a number from 1 to 100000"),
            ("subgroup = [64, 32]\n", "my.toml:5: subgroup: give the fewest and the most"),
            ("subgroup = 32\n", "my.toml:5: subgroup: give"),
            ("matrix = 4\nmatrix_tflops = 3\n", "my.toml:5: matrix: give 8 or 16"),
            ("matrix = 16\n", "matrix and matrix_tflops go together"),
            ("[units]\n", "my.toml:5: units: give a number"),
            ("integrated = 1\n", "my.toml:5: integrated: give true or false"),
            ("launch_us = \n", "my.toml:5: not TOML: "),
            ("name = \"twice\"\n", "my.toml:5: not TOML: duplicate key"),
        ] {
            let error = refused(&format!("{good}{text}"));
            assert!(error.contains(part), "{error} lacks {part}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        assert_eq!(
            refused("f32_tflops = 0\n"),
            "my.toml:1: f32_tflops: give 10¹² operations a second from 0.001 to 1000000"
        );
        assert_eq!(refused("name = \"a\"\n"), "my.toml:1: f32_tflops is missing; add f32_tflops = …");
        assert!(refused("").contains("my.toml:1: name is missing"));
        let error = Card::load("voodoo2").unwrap_err().to_string();
        assert!(error.contains("voodoo2: no such GPU") && error.contains("rx7900xtx"), "{error}");
    }
}
