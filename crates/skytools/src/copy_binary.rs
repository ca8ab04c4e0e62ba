//! COPY in binary format: finding its rows in a stream of bytes.

/// First bytes.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Where a field is in the bytes; `None` for NULL.
pub type Place = Option<(usize, usize)>;

/// The bytes are something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent something else than rows")]
pub struct Malformed;

/// A row of so many fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row<const FIELDS: usize> {
    /// One.
    Fields([Place; FIELDS]),
    /// There are no more.
    End,
}

/// End of the header, which comes first; `None` if there is not all of it yet.
///
/// # Errors
/// It is none.
pub fn header(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let fixed = SIGNATURE.len() + 8;
    if bytes.len() < fixed {
        return Ok(None);
    }
    if !bytes.starts_with(SIGNATURE) {
        return Err(Malformed);
    }
    let extension = be_i32(&bytes[fixed - 4..]).ok_or(Malformed)?;
    let end = fixed + usize::try_from(extension).map_err(|_| Malformed)?;
    Ok((bytes.len() >= end).then_some(end))
}

/// The row at `at`, which moves behind it; `None` if there is not all of it yet.
///
/// # Errors
/// It has another number of fields, or is none.
pub fn row<const FIELDS: usize>(
    bytes: &[u8],
    at: &mut usize,
) -> Result<Option<Row<FIELDS>>, Malformed> {
    let mut here = *at;
    let Some(count) = bytes.get(here..here + 2) else {
        return Ok(None);
    };
    here += 2;
    match i16::from_be_bytes([count[0], count[1]]) {
        -1 => {
            *at = here;
            return Ok(Some(Row::End));
        }
        count if usize::try_from(count) == Ok(FIELDS) => {}
        _ => return Err(Malformed),
    }
    let mut places: [Place; FIELDS] = [None; FIELDS];
    for place in &mut places {
        let Some(length) = be_i32(bytes.get(here..).unwrap_or_default()) else {
            return Ok(None);
        };
        here += 4;
        // Null has the length -1.
        if let Ok(length) = usize::try_from(length) {
            if bytes.len() < here + length {
                return Ok(None);
            }
            *place = Some((here, here + length));
            here += length;
        }
    }
    *at = here;
    Ok(Some(Row::Fields(places)))
}

/// The number that the first four bytes are.
pub fn be_i32(bytes: &[u8]) -> Option<i32> {
    Some(i32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes() -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        for fields in [[Some("ab"), None], [Some(""), Some("c")]] {
            bytes.extend(2_i16.to_be_bytes());
            for field in fields {
                let length = field.map_or(-1, |text| i32::try_from(text.len()).unwrap());
                bytes.extend(length.to_be_bytes());
                bytes.extend(field.unwrap_or_default().bytes());
            }
        }
        bytes.extend((-1_i16).to_be_bytes());
        bytes
    }

    #[test]
    fn rows_are_found_whole_or_not_at_all() {
        let bytes = bytes();
        let mut at = header(&bytes).unwrap().unwrap();
        let text = |place: Place| place.map(|(start, end)| &bytes[start..end]);
        let mut rows = Vec::new();
        while let Some(Row::Fields(places)) = row::<2>(&bytes, &mut at).unwrap() {
            rows.push(places.map(text));
        }
        assert_eq!(rows, [[Some(&b"ab"[..]), None], [Some(b""), Some(b"c")]]);
        assert_eq!(at, bytes.len());
        let start = header(&bytes).unwrap().unwrap();
        for end in 0..start {
            assert_eq!(header(&bytes[..end]), Ok(None));
        }
        for end in start..start + 12 {
            let mut at = start;
            assert_eq!(row::<2>(&bytes[..end], &mut at), Ok(None));
            assert_eq!(at, start);
        }
    }

    #[test]
    fn what_is_no_copy_is_refused() {
        assert_eq!(
            header(b"PGCOPY and something else altogether"),
            Err(Malformed)
        );
        let bytes = bytes();
        let mut at = header(&bytes).unwrap().unwrap();
        assert_eq!(row::<3>(&bytes, &mut at), Err(Malformed));
    }
}
