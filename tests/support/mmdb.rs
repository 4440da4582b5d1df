//! Databases of places in MaxMind's format, of the tests' own making (MaxMind DB 2.0): a tree of the bits of addresses,
//! the records that its leaves point to, and what the file says of itself.

use ipnet::IpNet;

/// A value of a record, of the kinds that are needed.
pub enum Value {
    Text(&'static str),
    Number(u32),
    Map(Vec<(&'static str, Value)>),
}

/// Where a node of the tree leads for one bit.
#[derive(Clone, Copy)]
enum Branch {
    Nowhere,
    Node(usize),
    /// Bytes from the beginning of the records.
    Record(usize),
}

/// The bytes between tree and records.
const SEPARATOR: usize = 16;

/// A database of cities: each network with its city if it has one, and its country's code and name.
pub fn cities(places: &[(&str, Option<&'static str>, &'static str, &'static str)]) -> Vec<u8> {
    let records = places.iter().map(|(network, city, code, name)| {
        let names = |name| ("names", Value::Map(vec![("en", Value::Text(name))]));
        let country = ("country", Value::Map(vec![("iso_code", Value::Text(code)), names(name)]));
        let city = city.map(|city| ("city", Value::Map(vec![names(city)])));
        (network.parse().unwrap(), Value::Map(std::iter::once(country).chain(city).collect()))
    });
    database("Test-City", records)
}

/// A database of this kind, each network with its record. No network lies within another.
pub fn database(kind: &'static str, records: impl IntoIterator<Item = (IpNet, Value)>) -> Vec<u8> {
    let (mut tree, mut data) = (vec![[Branch::Nowhere; 2]], Vec::new());
    for (network, record) in records {
        let place = Branch::Record(data.len());
        write(&mut data, &record);
        let bits = bits(network);
        let (last, path) = bits.split_last().unwrap();
        let mut node = 0;
        for bit in path {
            if let Branch::Node(next) = tree[node][*bit] {
                node = next;
            } else {
                tree.push([Branch::Nowhere; 2]);
                let next = tree.len() - 1;
                tree[node][*bit] = Branch::Node(next);
                node = next;
            }
        }
        tree[node][*last] = place;
    }
    let mut file: Vec<u8> = tree.iter().flatten().flat_map(|branch| pointer(*branch, tree.len())).collect();
    file.extend([0; SEPARATOR]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    about(&mut file, kind, tree.len());
    file
}

/// The bits that lead to a network: those of IPv6, in which IPv4 is at `::/96`.
fn bits(network: IpNet) -> Vec<usize> {
    let (address, length) = match network {
        IpNet::V4(v4) => (u128::from(v4.addr().to_bits()), 96 + v4.prefix_len()),
        IpNet::V6(v6) => (v6.addr().to_bits(), v6.prefix_len()),
    };
    (0..length).map(|bit| usize::from(address >> (127 - bit) & 1 == 1)).collect()
}

/// A branch in 32 bits: a node by its number, "nowhere" as the number after the last, a record beyond.
fn pointer(branch: Branch, nodes: usize) -> [u8; 4] {
    let number = match branch {
        Branch::Nowhere => nodes,
        Branch::Node(number) => number,
        Branch::Record(offset) => nodes + SEPARATOR + offset,
    };
    u32::try_from(number).unwrap().to_be_bytes()
}

fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => {
            control(out, 2, text.len());
            out.extend(text.bytes());
        }
        Value::Number(number) => {
            control(out, 6, 4);
            out.extend(number.to_be_bytes());
        }
        Value::Map(map) => {
            control(out, 7, map.len());
            for (key, value) in map {
                write(out, &Value::Text(key));
                write(out, value);
            }
        }
    }
}

/// The byte that opens a value, with its type and its size; a size from 29 on has a byte of its own.
fn control(out: &mut Vec<u8>, kind: u8, size: usize) {
    let size = u8::try_from(size).unwrap();
    if size < 29 {
        out.push(kind << 5 | size);
    } else {
        out.extend([kind << 5 | 0x1d, size - 29]);
    }
}

/// What the file says of itself.
fn about(out: &mut Vec<u8>, kind: &'static str, nodes: usize) {
    let short = |out: &mut Vec<u8>, key: &'static str, number: u16| {
        write(out, &Value::Text(key));
        control(out, 5, 2);
        out.extend(number.to_be_bytes());
    };
    control(out, 7, 9);
    for (key, number) in
        [("binary_format_major_version", 2), ("binary_format_minor_version", 0), ("ip_version", 6), ("record_size", 32)]
    {
        short(out, key, number);
    }
    let description = Value::Map(vec![("en", Value::Text("Places that are nowhere"))]);
    for (key, value) in [
        ("node_count", Value::Number(u32::try_from(nodes).unwrap())),
        ("database_type", Value::Text(kind)),
        ("description", description),
    ] {
        write(out, &Value::Text(key));
        write(out, &value);
    }
    // Types beyond seven stand in a byte of their own, less seven: a list of one language, and a number of 64 bits.
    write(out, &Value::Text("languages"));
    out.extend([1, 11 - 7]);
    write(out, &Value::Text("en"));
    write(out, &Value::Text("build_epoch"));
    out.extend([8, 9 - 7]);
    out.extend(1_800_000_000_u64.to_be_bytes());
}
