//! The `//!` lines of a kernel: its variants, best first.
//!
//!     //! workgroup row
//!     //! variant vec4: needs columns % 4; takes 4 an invocation
//!     //! variant scalar
//!
//! Settings stand between `;`. Those of a line without a variant are for all variants:
//!
//! * `workgroup` `map`, `row`, `row at most N`, `N` or `N subgroups`: the workgroup's size;
//! * `takes N an invocation`, `takes N a workgroup`: units of work, by default 1 of an invocation of `map`, 1 of any other
//!   workgroup;
//! * `tile N`: rows and columns of a tile of a matrix, or what the operation makes of it;
//! * `needs` conditions without which the variant is wrong or does not run;
//! * `prefers` conditions without which another is faster;
//! * `NAME = N`: the value of an override constant.
//!
//! A line `where NAME = conditions` gives them a name. A condition is `member % N` or `member = N` of `Params`; `NAME`, an override constant that is not 0; `tiles >= N`;
//! `accumulators >= N`; `subgroup = N` or `subgroup = N..=M`; `int64`, `f16`, `matrices = N`; or a device class: `cpu`, `gpu`, `integrated`,
//! `discrete`. `if NAME` or `unless NAME` behind it says for which value of an override constant it counts.

use std::collections::BTreeMap;

/// Conditions by the name that a header gives them.
type Named = BTreeMap<String, Vec<Need>>;

/// One condition, and its text.
#[derive(Clone)]
pub struct Need {
    pub text: String,
    pub condition: Condition,
    /// The override constant for which it counts, and whether that is set.
    pub guard: Option<(String, bool)>,
}

#[derive(Clone)]
pub enum Condition {
    Multiple(String, u32),
    Equal(String, u32),
    Constant(String),
    Tiles(u32),
    Accumulators(u32),
    Subgroup(u32, u32),
    Int64,
    F16,
    Matrices(u32),
    Class(&'static [&'static str]),
}

#[derive(Clone, Copy)]
pub enum Workgroup {
    Map,
    Row(u32),
    Fixed(u32),
    Subgroups(u32),
}

/// Units of work of an invocation or of a workgroup.
#[derive(Clone, Copy)]
pub enum Takes {
    Invocation(u32),
    Workgroup(u32),
}

#[derive(Clone, Default)]
pub struct Variant {
    /// Empty where the kernel has one variant alone.
    pub name: String,
    pub workgroup: Option<Workgroup>,
    takes: Option<Takes>,
    pub tile: u32,
    pub needs: Vec<Need>,
    pub prefers: Vec<Need>,
    pub constants: Vec<(String, u32)>,
}

impl Variant {
    pub fn takes(&self) -> Takes {
        self.takes.unwrap_or(match self.workgroup {
            Some(Workgroup::Map) => Takes::Invocation(1),
            _ => Takes::Workgroup(1),
        })
    }

    /// Whether a browser may have it: WebGPU has neither subgroups of a known size nor what else is asked for here.
    pub fn is_for_browsers(&self) -> bool {
        let native = |need: &Need| {
            matches!(need.condition, Condition::Subgroup(..) | Condition::Int64 | Condition::Matrices(_))
        };
        !self.needs.iter().any(native)
    }

    fn set(&mut self, setting: &str, named: &Named) -> Result<(), String> {
        let wrong = || format!("{setting:?} is no setting");
        let words: Vec<&str> = setting.split_whitespace().collect();
        match words.as_slice() {
            ["workgroup", "map"] => self.workgroup = Some(Workgroup::Map),
            ["workgroup", "row"] => self.workgroup = Some(Workgroup::Row(u32::MAX)),
            ["workgroup", "row", "at", "most", n] => self.workgroup = Some(Workgroup::Row(number(n)?)),
            ["workgroup", n, "subgroups"] => self.workgroup = Some(Workgroup::Subgroups(number(n)?)),
            ["workgroup", n] => self.workgroup = Some(Workgroup::Fixed(number(n)?)),
            ["takes", n, "an", "invocation"] => self.takes = Some(Takes::Invocation(number(n)?)),
            ["takes", n, "a", "workgroup"] => self.takes = Some(Takes::Workgroup(number(n)?)),
            ["tile", n] => self.tile = number(n)?,
            ["needs", ..] => self.needs.extend(conditions(&setting[5..], named)?),
            ["prefers", ..] => self.prefers.extend(conditions(&setting[7..], named)?),
            [name, "=", n] if is_constant(name) => self.constants.push(((*name).to_owned(), number(n)?)),
            _ => return Err(wrong()),
        }
        Ok(())
    }
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn is_constant(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

fn conditions(list: &str, named: &Named) -> Result<Vec<Need>, String> {
    let mut all = Vec::new();
    for text in list.split(',').map(str::trim) {
        match named.get(text) {
            Some(known) => all.extend_from_slice(known),
            None => all.push(need(text)?),
        }
    }
    Ok(all)
}

fn need(text: &str) -> Result<Need, String> {
    let guarded = |word: &str| text.split_once(word).map(|(condition, name)| (condition, name.trim()));
    let (condition, guard) = match (guarded(" if "), guarded(" unless ")) {
        (Some((condition, name)), _) => (condition, Some((name.to_owned(), true))),
        (None, Some((condition, name))) => (condition, Some((name.to_owned(), false))),
        (None, None) => (text, None),
    };
    let words: Vec<&str> = condition.split_whitespace().collect();
    let condition = match words.as_slice() {
        ["int64"] => Condition::Int64,
        ["f16"] => Condition::F16,
        ["cpu"] => Condition::Class(&["cpu"]),
        ["gpu"] => Condition::Class(&["integrated", "discrete"]),
        ["integrated"] => Condition::Class(&["integrated"]),
        ["discrete"] => Condition::Class(&["discrete"]),
        ["tiles", ">=", n] => Condition::Tiles(number(n)?),
        ["accumulators", ">=", n] => Condition::Accumulators(number(n)?),
        ["matrices", "=", n] => Condition::Matrices(number(n)?),
        ["subgroup", "=", n] => match n.split_once("..=") {
            Some((least, most)) => Condition::Subgroup(number(least)?, number(most)?),
            None => Condition::Subgroup(number(n)?, number(n)?),
        },
        [member, "%", n] => Condition::Multiple((*member).to_owned(), number(n)?),
        [member, "=", n] => Condition::Equal((*member).to_owned(), number(n)?),
        [name] if is_constant(name) => Condition::Constant((*name).to_owned()),
        _ => return Err(format!("{text:?} is no condition")),
    };
    Ok(Need { text: text.to_owned(), condition, guard })
}

/// The variants that a kernel's file declares, or none where it is there to be imported.
pub fn variants(source: &str) -> Result<Vec<Variant>, String> {
    let (mut common, mut variants) = (Variant::default(), Vec::new());
    let mut lines = source.lines().filter_map(|line| line.strip_prefix("//! ")).peekable();
    if lines.peek().is_none() {
        return Ok(variants);
    }
    let mut named = Named::new();
    for line in lines {
        if let Some((name, list)) = line.strip_prefix("where ").and_then(|rest| rest.split_once(" = ")) {
            let known = conditions(list, &named)?;
            named.insert(name.to_owned(), known);
            continue;
        }
        let (mut variant, settings) = match line.strip_prefix("variant ") {
            Some(rest) => {
                let (name, settings) = rest.split_once(':').unwrap_or((rest, ""));
                (Some(Variant { name: name.trim().to_owned(), ..common.clone() }), settings)
            }
            None if variants.is_empty() => (None, line),
            None => return Err("settings of all variants stand before the first".into()),
        };
        for setting in settings.split(';').map(str::trim).filter(|setting| !setting.is_empty()) {
            variant.as_mut().unwrap_or(&mut common).set(setting, &named)?;
        }
        variants.extend(variant);
    }
    if variants.is_empty() {
        variants.push(common);
    }
    match variants.iter().find(|variant| variant.workgroup.is_none()) {
        Some(variant) => Err(format!("variant {:?} has no workgroup", variant.name)),
        None => Ok(variants),
    }
}
