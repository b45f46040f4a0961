//! Reflection of a kernel's WGSL by naga.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, ArraySize, ScalarKind, StorageAccess, TypeInner};

use crate::f16::in_f16;
use crate::header::{Variant, Workgroup};
use crate::source::{compact, in_f16_too};

/// A valid kernel with one entry point, `main`.
pub struct Module {
    source: String,
    /// The storage bindings from 1 on: name, and whether they are written.
    storage: Vec<(String, bool)>,
    /// The names of those that may be in f16.
    in_f16: Vec<String>,
    /// Name and Rust type of the members of `Params`, all of 4 bytes.
    members: Vec<(String, &'static str)>,
    /// The values of each override constant.
    overrides: Vec<(String, Vec<u32>)>,
    /// Bytes of its workgroup memory whose size no override constant decides.
    workgroup_bytes: u32,
}

impl Module {
    /// `source` is that of `variant`, with the comments that declare values.
    pub fn new(source: &str, variant: &Variant) -> Result<Self, String> {
        let (compacted, commented) = (compact(source), source);
        let module = parse(&compacted)?;
        let (params, storage) = storage(&module)?;
        let members = members(&module, params)?;
        let mut overrides = Vec::new();
        for (_, one) in module.overrides.iter() {
            // Expressions of override constants are such without a name.
            let Some(name) = one.name.clone() else { continue };
            let is_bool =
                matches!(module.types[one.ty].inner, TypeInner::Scalar(s) if s.kind == ScalarKind::Bool);
            let values = values(commented, &name, is_bool, variant)?;
            overrides.push((name, values));
        }
        overrides.sort();
        for (name, _) in &variant.constants {
            if !overrides.iter().any(|(own, _)| own == name) {
                return Err(format!("there is no override constant {name}"));
            }
        }
        let [size, ..] = module.entry_points[0].workgroup_size;
        let sized = overrides.iter().any(|(name, _)| name == WORKGROUP_SIZE);
        match variant.workgroup {
            _ if sized => {}
            Some(Workgroup::Fixed(own)) if own == size => {}
            _ => return Err(format!("its workgroup has {size} invocations, its header says otherwise")),
        }
        let mut workgroup_bytes = 0;
        for (_, variable) in module.global_variables.iter() {
            if variable.space != AddressSpace::WorkGroup {
                continue;
            }
            if let TypeInner::Array { size: ArraySize::Constant(size), stride, .. } =
                module.types[variable.ty].inner
            {
                workgroup_bytes += size.get() * stride;
            }
        }
        let mut f16_names = in_f16_too(commented);
        f16_names.retain(|name| in_f16(&compacted, &[name]).is_ok());
        if !f16_names.is_empty() {
            let names: Vec<&str> = f16_names.iter().map(String::as_str).collect();
            parse(&in_f16(&compacted, &names)?)?;
        }
        Ok(Self { source: compacted, storage, in_f16: f16_names, members, overrides, workgroup_bytes })
    }

    /// Whether one dispatch serves both.
    pub fn takes_as(&self, other: &Self) -> bool {
        self.members == other.members && self.storage == other.storage
    }

    /// The number of a storage binding.
    pub fn index(&self, wanted: &str) -> Result<usize, String> {
        let found = self.storage.iter().position(|(name, _)| name == wanted);
        found.ok_or_else(|| format!("there is no storage binding {wanted}"))
    }

    /// Where a member of `Params` stands.
    pub fn offset(&self, wanted: &str) -> Result<usize, String> {
        let found = self.members.iter().position(|(name, _)| name == wanted);
        found.map(|at| 4 * at).ok_or_else(|| format!("Params has no {wanted}"))
    }

    pub fn has_override(&self, wanted: &str) -> bool {
        self.overrides.iter().any(|(name, _)| name == wanted)
    }

    /// The members of the Rust struct `Params`.
    pub fn params(&self) -> String {
        let member = |(name, ty): &(String, &str)| format!("pub {name}: {ty}, ");
        self.members.iter().map(member).collect()
    }

    /// The kernel as a Rust expression.
    pub fn describe(&self, name: &str, in_place: &str) -> String {
        let bindings: String = (self.storage.iter())
            .map(|(name, write)| {
                let in_f16 = self.in_f16.contains(name);
                format!("Binding {{ name: {name:?}, write: {write}, in_f16: {in_f16} }}, ")
            })
            .collect();
        let mut overrides = String::new();
        for (name, values) in &self.overrides {
            let values: Vec<String> = values.iter().map(|value| format!("{value}.0")).collect();
            let _ = write!(overrides, "Override {{ name: {name:?}, values: &[{}] }}, ", values.join(", "));
        }
        format!(
            "Kernel {{ name: {name:?}, source: {:?}, bindings: &[{bindings}], overrides: &[{overrides}], params: {}, \
             workgroup_bytes: {}, in_place: &[{in_place}] }}",
            self.source,
            4 * self.members.len(),
            self.workgroup_bytes,
        )
    }
}

const WORKGROUP_SIZE: &str = "WORKGROUP_SIZE";

/// The values that the override constant `name` may have, the usual one first: those of a flag, those of the header, or
/// those that the comment behind its declaration lists, as "values 0..=7" or "values 1, 4".
fn values(source: &str, name: &str, is_bool: bool, variant: &Variant) -> Result<Vec<u32>, String> {
    if let Some((_, value)) = variant.constants.iter().find(|(constant, _)| constant == name) {
        return Ok(vec![*value]);
    }
    if name == WORKGROUP_SIZE {
        return Ok(match variant.workgroup {
            Some(Workgroup::Row(most)) => [8, 4, 64].map(|size: u32| size.min(most)).to_vec(),
            Some(Workgroup::Fixed(size)) => vec![size],
            Some(Workgroup::Subgroups(count)) => [32, 8, 16, 64].map(|size: u32| size * count).to_vec(),
            Some(Workgroup::Map) | None => vec![64],
        });
    }
    if is_bool {
        return Ok(vec![0, 1]);
    }
    let undeclared = || format!("the comment behind `override {name}` declares no values");
    let declaration = format!("override {name}:");
    let line =
        source.lines().find(|line| line.trim_start().starts_with(&declaration)).ok_or_else(undeclared)?;
    let (_, list) = line.split_once("// values ").ok_or_else(undeclared)?;
    let list = list.split([':', ';']).next().unwrap_or_default().trim();
    let one = |text: &str| text.trim().parse::<u32>().map_err(|_| undeclared());
    match list.split_once("..=") {
        Some((first, last)) => Ok((one(first)?..=one(last)?).collect()),
        None => list.split(',').map(one).collect(),
    }
}

fn parse(source: &str) -> Result<naga::Module, String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let capabilities = Capabilities::default()
        | Capabilities::SUBGROUP
        | Capabilities::SHADER_INT64
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | Capabilities::SHADER_FLOAT16
        | Capabilities::COOPERATIVE_MATRIX;
    Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|e| e.emit_to_string(source))?;
    if module.entry_points.len() != 1 || module.entry_points[0].name != "main" {
        return Err("a kernel has one entry point, `main`".into());
    }
    Ok(module)
}

/// The storage bindings of a kernel in order: name, and whether it is written.
type Storage = Vec<(String, bool)>;

/// The type of `params`, and the storage bindings.
fn storage(module: &naga::Module) -> Result<(naga::Handle<naga::Type>, Storage), String> {
    let (mut storage, mut params) = (BTreeMap::new(), None);
    for (_, variable) in module.global_variables.iter() {
        let Some(binding) = &variable.binding else { continue };
        match variable.space {
            AddressSpace::Uniform if binding.binding == 0 => params = Some(variable.ty),
            AddressSpace::Storage { access } if binding.binding > 0 => {
                let name = variable.name.clone().unwrap_or_default();
                storage.insert(binding.binding, (name, access.contains(StorageAccess::STORE)));
            }
            _ => return Err("binding 0 is the uniform `params`, storage follows from 1".into()),
        }
    }
    let params = params.ok_or("binding 0 is the uniform `params`")?;
    if storage.keys().copied().ne(1..=storage.len() as u32) {
        return Err("storage bindings are numbered 1, 2, 3 … without a gap".into());
    }
    Ok((params, storage.into_values().collect()))
}

fn members(
    module: &naga::Module,
    ty: naga::Handle<naga::Type>,
) -> Result<Vec<(String, &'static str)>, String> {
    let TypeInner::Struct { members, span } = &module.types[ty].inner else {
        return Err("`params` is a struct".into());
    };
    let mut all = Vec::new();
    for member in members {
        let rust = match module.types[member.ty].inner {
            TypeInner::Scalar(scalar) if scalar.width == 4 => match scalar.kind {
                ScalarKind::Uint => "u32",
                ScalarKind::Sint => "i32",
                ScalarKind::Float => "f32",
                _ => return Err("members of `Params` are u32, i32 or f32".into()),
            },
            _ => return Err("members of `Params` are u32, i32 or f32".into()),
        };
        all.push((member.name.clone().unwrap_or_default(), rust));
    }
    match all.len() as u32 * 4 == *span {
        true => Ok(all),
        false => Err("`Params` has no gaps".into()),
    }
}
