//! Kernels with bindings in f16.
//!
//! The comment behind a storage binding says that it may be "in f16 too". Reads then unpack, writes pack, and the
//! arithmetic stays f32. `build.rs` finds the variants that can and validates them; the source is generated when a plan uses
//! it.

/// The functions that reads and writes call.
const LIBRARY: &str = include_str!("../../shaders/storage/f16.wgsl");

/// The element type of a binding.
#[derive(Clone, Copy, PartialEq)]
enum Element {
    /// Four numbers.
    Four,
    /// The bits of four numbers.
    FourWords,
    /// One number, which is read only: the two of a word may belong to two invocations.
    One,
}

/// `source`, without comments, with the storage bindings `names` in f16.
///
/// # Errors
/// When one cannot be.
pub fn in_f16(source: &str, names: &[&str]) -> Result<String, String> {
    let mut text = source.to_owned();
    for name in names {
        let (element, line) = declaration(&text, name)?;
        let packed = if element == Element::One { "u32" } else { "vec2<u32>" };
        let (start, _) = line.split_once("array<").unwrap_or((&line, ""));
        let (before, after) = text.split_once(&line).unwrap_or((&text, ""));
        let access = Access { name, element };
        text = format!("{}{start}array<{packed}>;{}", access.rewrite(before)?, access.rewrite(after)?);
    }
    let code = |line: &str| line.split("//").next().unwrap_or_default().trim().to_owned();
    let library: Vec<String> = LIBRARY.lines().map(code).filter(|line| !line.is_empty()).collect();
    Ok(text + "\n" + &library.join("\n"))
}

/// The element type of the binding `name`, and the line that declares it.
fn declaration(source: &str, name: &str) -> Result<(Element, String), String> {
    let wanted = format!("> {name}: array<");
    let line = source.lines().find(|line| line.contains("var<storage") && line.contains(&wanted));
    let line = line.ok_or_else(|| format!("there is no storage binding {name}"))?;
    let own = line.split_once(&wanted).and_then(|(_, rest)| rest.strip_suffix(">;")).unwrap_or_default();
    let alias = format!("alias {own} = ");
    let named = source.lines().find_map(|line| line.strip_prefix(&alias)?.strip_suffix(';'));
    let element = match named.unwrap_or(own) {
        "vec4<f32>" => Element::Four,
        "vec4<u32>" => Element::FourWords,
        "f32" if !line.contains("read_write") => Element::One,
        other => return Err(format!("{name} is of {other}")),
    };
    Ok((element, line.to_owned()))
}

/// How the elements of a binding are read and written.
struct Access<'a> {
    name: &'a str,
    element: Element,
}

impl Access<'_> {
    fn rewrite(&self, source: &str) -> Result<String, String> {
        let wanted = format!("{}[", self.name);
        let (mut text, mut rest) = (String::new(), source);
        while let Some(at) = rest.find(&wanted) {
            let within = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            let (before, after) = rest.split_at(at);
            text += before;
            rest = &after[wanted.len()..];
            if before.ends_with(within) {
                text += &wanted;
                continue;
            }
            let (index, behind) = bracketed(rest)?;
            let index = self.rewrite(index)?;
            let place = format!("{}[{index}]", self.name);
            let part = behind.strip_prefix('[').map(bracketed).transpose()?;
            if let Some(value) = behind.strip_prefix(" = ") {
                let (value, behind) = value.split_once(';').ok_or("a statement has no end")?;
                let value = self.rewrite(value)?;
                text += &match self.element {
                    Element::FourWords => format!("{place} = pack_f16(bitcast<vec4<f32>>({value}));"),
                    _ => format!("{place} = pack_f16({value});"),
                };
                rest = behind;
            } else if let Some(value) = part.and_then(|(_, behind)| behind.strip_prefix(" = ")) {
                // The last elements one by one: tensors in f16 have a multiple of four.
                (_, rest) = value.split_once(';').ok_or("a statement has no end")?;
            } else {
                text += &match self.element {
                    Element::Four => format!("unpack_f16({place})"),
                    Element::FourWords => format!("bitcast<vec4<u32>>(unpack_f16({place}))"),
                    Element::One => format!("unpack_one({}[u32({index}) >> 1u], u32({index}))", self.name),
                };
                rest = behind;
            }
        }
        Ok(text + rest)
    }
}

/// What stands before the bracket that closes, and behind it.
fn bracketed(text: &str) -> Result<(&str, &str), String> {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok((&text[..at], &text[at + 1..]));
        }
    }
    Err("a bracket is not closed".into())
}
