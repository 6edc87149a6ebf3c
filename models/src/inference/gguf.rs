//! The header of a GGUF file: metadata and where each tensor lies.
//!
//! Format: ggml's `docs/gguf.md`. Our own reader rather than candle's because a header is hostile input:
//! lengths are checked against the bytes that are left before anything is allocated, arrays nobody
//! asks for are skipped, and no value can make it panic.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;

use super::load::LoadError;

const LONGEST_STRING: u64 = 1 << 24;
const LONGEST_ARRAY: u64 = 1 << 24;
const MOST_ENTRIES: u64 = 1 << 20;
const MOST_DIMENSIONS: u32 = 4;

/// One metadata value; numbers are widened.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any unsigned integer.
    Unsigned(u64),
    /// Any signed integer.
    Signed(i64),
    /// Any float.
    Float(f64),
    /// A flag.
    Bool(bool),
    /// A text; bytes that are not UTF-8 are replaced.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// A list of integers that fit 32 bits.
    Integers(Vec<i32>),
    /// A list of floats.
    Floats(Vec<f32>),
    /// A list of another kind, skipped.
    Skipped,
}

/// Where one tensor lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Storage type.
    pub dtype: GgmlDType,
    /// Rows first, as candle counts.
    pub dims: Vec<usize>,
    /// From the start of the file.
    pub offset: u64,
    /// As stored.
    pub bytes: u64,
}

/// A parsed header.
#[derive(Debug, Clone)]
pub struct Header {
    /// The file it came from.
    pub path: PathBuf,
    /// Metadata by key.
    pub metadata: HashMap<String, Value>,
    /// Tensors by name.
    pub tensors: HashMap<String, TensorInfo>,
}

/// What is wrong with a file, before it is tied to a path.
type Fault = String;

struct Reader<R> {
    inner: R,
    left: u64,
    position: u64,
}

impl<R: Read + Seek> Reader<R> {
    fn bytes<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Fault> {
        let mut buffer = [0u8; N];
        self.fill(&mut buffer, what)?;
        Ok(buffer)
    }

    fn fill(&mut self, buffer: &mut [u8], what: &str) -> Result<(), Fault> {
        let wanted = buffer.len() as u64;
        if wanted > self.left {
            return Err(format!(
                "the file ends inside {what}: {wanted} bytes expected at offset {}, {} left",
                self.position, self.left
            ));
        }
        self.inner.read_exact(buffer).map_err(|error| format!("cannot read {what}: {error}"))?;
        self.left -= wanted;
        self.position += wanted;
        Ok(())
    }

    fn skip(&mut self, count: u64, what: &str) -> Result<(), Fault> {
        let step = i64::try_from(count).ok().filter(|_| count <= self.left).ok_or_else(|| {
            format!(
                "the file ends inside {what}: {count} bytes expected at offset {}, {} left",
                self.position, self.left
            )
        })?;
        self.inner.seek_relative(step).map_err(|error| format!("cannot read {what}: {error}"))?;
        self.left -= count;
        self.position += count;
        Ok(())
    }

    fn u32(&mut self, what: &str) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.bytes(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.bytes(what)?))
    }

    fn length(&mut self, version: u32, what: &str) -> Result<u64, Fault> {
        if version == 1 { Ok(u64::from(self.u32(what)?)) } else { self.u64(what) }
    }

    fn text(&mut self, version: u32, what: &str) -> Result<String, Fault> {
        let length = self.length(version, what)?;
        if length > LONGEST_STRING.min(self.left) {
            return Err(format!(
                "{what} is {length} bytes long at offset {}, expected at most {}",
                self.position,
                LONGEST_STRING.min(self.left)
            ));
        }
        let mut buffer = vec![0; usize::try_from(length).map_err(|error| error.to_string())?];
        self.fill(&mut buffer, what)?;
        Ok(String::from_utf8_lossy(&buffer).trim_end_matches('\0').to_owned())
    }
}

/// Stored size of a scalar of a metadata type.
fn scalar_bytes(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

fn tensor_type(code: u32) -> Option<GgmlDType> {
    Some(match code {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        9 => GgmlDType::Q8_1,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        15 => GgmlDType::Q8K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

/// The name GGUF gives a storage type (`Q4_1`, `Q6_K`, `F16`…).
pub fn type_name(dtype: GgmlDType) -> &'static str {
    match dtype {
        GgmlDType::F32 => "F32",
        GgmlDType::F16 => "F16",
        GgmlDType::BF16 => "BF16",
        GgmlDType::Q4_0 => "Q4_0",
        GgmlDType::Q4_1 => "Q4_1",
        GgmlDType::Q5_0 => "Q5_0",
        GgmlDType::Q5_1 => "Q5_1",
        GgmlDType::Q8_0 => "Q8_0",
        GgmlDType::Q8_1 => "Q8_1",
        GgmlDType::Q2K => "Q2_K",
        GgmlDType::Q3K => "Q3_K",
        GgmlDType::Q4K => "Q4_K",
        GgmlDType::Q5K => "Q5_K",
        GgmlDType::Q6K => "Q6_K",
        GgmlDType::Q8K => "Q8_K",
    }
}

/// The storage type of a name as GGUF writes it, upper and lower case alike; `None` for names it does not have.
pub fn type_named(name: &str) -> Option<GgmlDType> {
    (0..=30).filter_map(tensor_type).find(|dtype| type_name(*dtype).eq_ignore_ascii_case(name))
}

/// Bytes of `elements` values stored as `dtype`; `None` where they do not fill whole blocks or overflow.
pub fn stored_bytes(dtype: GgmlDType, elements: u64) -> Option<u64> {
    let block = dtype.block_size() as u64;
    elements.is_multiple_of(block).then_some(())?;
    (elements / block).checked_mul(dtype.type_size() as u64)
}

fn scalar<R: Read + Seek>(reader: &mut Reader<R>, kind: u32, key: &str) -> Result<Value, Fault> {
    Ok(match kind {
        0 => Value::Unsigned(u64::from(u8::from_le_bytes(reader.bytes(key)?))),
        1 => Value::Signed(i64::from(i8::from_le_bytes(reader.bytes(key)?))),
        2 => Value::Unsigned(u64::from(u16::from_le_bytes(reader.bytes(key)?))),
        3 => Value::Signed(i64::from(i16::from_le_bytes(reader.bytes(key)?))),
        4 => Value::Unsigned(u64::from(u32::from_le_bytes(reader.bytes(key)?))),
        5 => Value::Signed(i64::from(i32::from_le_bytes(reader.bytes(key)?))),
        6 => Value::Float(f64::from(f32::from_le_bytes(reader.bytes(key)?))),
        7 => match reader.bytes::<1>(key)? {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            [other] => return Err(format!("flag `{key}` is {other}, expected 0 or 1")),
        },
        10 => Value::Unsigned(u64::from_le_bytes(reader.bytes(key)?)),
        11 => Value::Signed(i64::from_le_bytes(reader.bytes(key)?)),
        12 => Value::Float(f64::from_le_bytes(reader.bytes(key)?)),
        other => return Err(format!("`{key}` has value type {other}, expected 0 to 12")),
    })
}

/// Arrays worth keeping: the tokenizer's. Everything else is skipped unread.
fn wanted(key: &str) -> bool {
    key.starts_with("tokenizer.ggml.")
}

fn array<R: Read + Seek>(reader: &mut Reader<R>, version: u32, key: &str) -> Result<Value, Fault> {
    let kind = reader.u32(key)?;
    let count = reader.length(version, key)?;
    if count > LONGEST_ARRAY {
        return Err(format!("list `{key}` has {count} items, expected at most {LONGEST_ARRAY}"));
    }
    let smallest = match kind {
        8 => {
            if version == 1 {
                4
            } else {
                8
            }
        }
        9 => return Err(format!("list `{key}` is a list of lists, expected scalars or texts")),
        other => scalar_bytes(other)
            .ok_or_else(|| format!("list `{key}` has item type {other}, expected 0 to 8 or 10 to 12"))?,
    };
    let needed = count.saturating_mul(smallest);
    if needed > reader.left {
        return Err(format!(
            "list `{key}` needs at least {needed} bytes at offset {}, {} left",
            reader.position, reader.left
        ));
    }
    if !wanted(key) {
        if kind == 8 {
            for _ in 0..count {
                let length = reader.length(version, key)?;
                reader.skip(length, key)?;
            }
        } else {
            reader.skip(needed, key)?;
        }
        return Ok(Value::Skipped);
    }
    match kind {
        8 => (0..count).map(|_| reader.text(version, key)).collect::<Result<_, _>>().map(Value::Texts),
        4 | 5 => {
            let mut items = Vec::new();
            for _ in 0..count {
                items.push(i32::from_le_bytes(reader.bytes(key)?));
            }
            Ok(Value::Integers(items))
        }
        6 => {
            let mut items = Vec::new();
            for _ in 0..count {
                items.push(f32::from_le_bytes(reader.bytes(key)?));
            }
            Ok(Value::Floats(items))
        }
        _ => reader.skip(needed, key).map(|()| Value::Skipped),
    }
}

impl Header {
    /// Reads and checks the header of a file; no tensor data is read.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let fault = |fault: Fault| LoadError::Gguf { path: path.to_owned(), fault };
        let io = |source| LoadError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let mut reader = Reader { inner: BufReader::new(file), left: size, position: 0 };
        let (metadata, tensors) = read_header(&mut reader, size).map_err(fault)?;
        Ok(Self { path: path.to_owned(), metadata, tensors })
    }

    /// An error about this file.
    pub(crate) fn fault(&self, fault: impl Into<String>) -> LoadError {
        LoadError::Gguf { path: self.path.clone(), fault: fault.into() }
    }

    /// An unsigned number, or what is wrong with it.
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>, LoadError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Unsigned(value)) => Ok(Some(*value)),
            Some(Value::Signed(value)) if *value >= 0 => Ok(Some(value.unsigned_abs())),
            Some(other) => Err(self.fault(format!("`{key}` is {other:?}, expected an unsigned number"))),
        }
    }

    /// A float, or what is wrong with it.
    pub fn float(&self, key: &str) -> Result<Option<f64>, LoadError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Float(value)) => Ok(Some(*value)),
            Some(other) => Err(self.fault(format!("`{key}` is {other:?}, expected a float"))),
        }
    }

    /// A text, or what is wrong with it.
    pub fn text(&self, key: &str) -> Result<Option<&str>, LoadError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Text(value)) => Ok(Some(value)),
            Some(other) => Err(self.fault(format!("`{key}` is {other:?}, expected a text"))),
        }
    }

    /// A flag; absent or of another type reads as `None`.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.metadata.get(key) {
            Some(Value::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    /// The stored bytes of one tensor.
    pub fn tensor_bytes(&self, file: &mut File, name: &str) -> Result<Vec<u8>, LoadError> {
        let info = self.tensors.get(name).ok_or_else(|| self.fault(format!("tensor `{name}` is missing")))?;
        let io = |source| LoadError::Read { path: self.path.clone(), source };
        let length = usize::try_from(info.bytes).map_err(|error| self.fault(error.to_string()))?;
        file.seek(SeekFrom::Start(info.offset)).map_err(io)?;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes).map_err(io)?;
        Ok(bytes)
    }
}

type Parsed = (HashMap<String, Value>, HashMap<String, TensorInfo>);

fn read_header<R: Read + Seek>(reader: &mut Reader<R>, size: u64) -> Result<Parsed, Fault> {
    let magic: [u8; 4] = reader.bytes("the magic")?;
    if &magic != b"GGUF" {
        return Err(format!("it starts with {magic:02x?}, expected a GGUF file (47 47 55 46)"));
    }
    let version = reader.u32("the version")?;
    if !(1..=3).contains(&version) {
        return Err(format!("GGUF version is {version}, expected 1, 2 or 3 in little-endian order"));
    }
    let tensor_count = reader.length(version, "the tensor count")?;
    let entry_count = reader.length(version, "the metadata count")?;
    for (what, count) in [("tensors", tensor_count), ("metadata entries", entry_count)] {
        // An entry of either kind takes at least 13 bytes.
        if count > MOST_ENTRIES || count.saturating_mul(13) > reader.left {
            return Err(format!("{count} {what} declared, more than the file can hold"));
        }
    }
    let mut metadata = HashMap::new();
    for index in 0..entry_count {
        let key = reader.text(version, &format!("the name of metadata entry {index}"))?;
        let kind = reader.u32(&key)?;
        let value = match kind {
            8 => Value::Text(reader.text(version, &key)?),
            9 => array(reader, version, &key)?,
            other => scalar(reader, other, &key)?,
        };
        metadata.insert(key, value);
    }
    let mut tensors = HashMap::new();
    for index in 0..tensor_count {
        let name = reader.text(version, &format!("the name of tensor {index}"))?;
        let info = tensor_info(reader, version, &name)?;
        if tensors.insert(name.clone(), info).is_some() {
            return Err(format!("tensor `{name}` is declared twice"));
        }
    }
    let alignment = match metadata.get("general.alignment") {
        None => 32,
        Some(Value::Unsigned(value)) if value.is_power_of_two() && *value <= 1 << 20 => *value,
        Some(other) => {
            return Err(format!("`general.alignment` is {other:?}, expected a power of two up to 1048576"));
        }
    };
    let data_start = reader.position.next_multiple_of(alignment);
    for (name, info) in &mut tensors {
        let start = data_start.checked_add(info.offset);
        let end = start.and_then(|start| start.checked_add(info.bytes));
        match (start, end) {
            (Some(start), Some(end)) if end <= size => info.offset = start,
            _ => {
                return Err(format!(
                    "tensor `{name}` needs {} bytes at offset {} of the data, the file has {size} bytes",
                    info.bytes, info.offset
                ));
            }
        }
    }
    no_overlaps(&tensors)?;
    Ok((metadata, tensors))
}

fn tensor_info<R: Read + Seek>(
    reader: &mut Reader<R>,
    version: u32,
    name: &str,
) -> Result<TensorInfo, Fault> {
    let count = reader.u32(name)?;
    if !(1..=MOST_DIMENSIONS).contains(&count) {
        return Err(format!("tensor `{name}` has {count} dimensions, expected 1 to {MOST_DIMENSIONS}"));
    }
    let mut dims = Vec::new();
    let mut elements: u64 = 1;
    for _ in 0..count {
        let dim = reader.length(version, name)?;
        elements = elements
            .checked_mul(dim)
            .filter(|_| dim > 0)
            .ok_or_else(|| format!("tensor `{name}` has an impossible dimension {dim}"))?;
        dims.push(usize::try_from(dim).map_err(|error| format!("tensor `{name}`: {error}"))?);
    }
    dims.reverse();
    let code = reader.u32(name)?;
    let dtype = tensor_type(code)
        .ok_or_else(|| format!("tensor `{name}` has type {code}, which this engine cannot read"))?;
    if !dims.last().is_some_and(|columns| columns.is_multiple_of(dtype.block_size())) {
        return Err(format!(
            "tensor `{name}` has rows of {:?} values, expected a multiple of {} for {}",
            dims.last(),
            dtype.block_size(),
            type_name(dtype)
        ));
    }
    let bytes = stored_bytes(dtype, elements)
        .ok_or_else(|| format!("tensor `{name}` of shape {dims:?} has an impossible size"))?;
    let offset = reader.u64(name)?;
    Ok(TensorInfo { dtype, dims, offset, bytes })
}

fn no_overlaps(tensors: &HashMap<String, TensorInfo>) -> Result<(), Fault> {
    let mut spans: Vec<(u64, u64, &str)> =
        tensors.iter().map(|(name, info)| (info.offset, info.offset + info.bytes, name.as_str())).collect();
    spans.sort_unstable();
    for pair in spans.windows(2) {
        if let [(_, end, first), (start, _, second)] = pair
            && end > start
        {
            return Err(format!("tensors `{first}` and `{second}` overlap at offset {start}"));
        }
    }
    Ok(())
}
