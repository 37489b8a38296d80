//! Values that are what they say, and values that lie.

use proptest::prelude::*;

use super::*;

#[test]
fn the_length_of_every_kind_of_value_is_found() {
    for (bytes, length) in [
        (&[0x40, 0xFF][..], 1),
        (&[0x52, 7, 0xFF], 2),
        (&[0x70, 0, 0, 1, 0, 0xFF], 5),
        (&[0xA1, 2, b'a', b'b', 0xFF], 4),
        (&[0xB0, 0, 0, 0, 1, 9, 0xFF], 6),
        (&[0xC0, 2, 1, 0x40, 0xFF], 4),
        (&[0xD0, 0, 0, 0, 5, 0, 0, 0, 1, 0x41, 0xFF], 10),
        (&[0xE0, 4, 2, 0x50, 1, 2, 0xFF], 6),
        (&[0x00, 0x53, 0x24, 0x45, 0xFF], 4),
        (&[0x45, 0xFF], 1),
    ] {
        assert_eq!(encoded_len(bytes), Ok(length), "{bytes:02x?}");
    }
}

#[test]
fn a_map_has_a_value_for_every_key() {
    for map in [&[0xC1, 3, 2, 0x40, 0x41][..], &[0xD1, 0, 0, 0, 6, 0, 0, 0, 2, 0x40, 0x41]] {
        assert_eq!(encoded_len(map), Ok(map.len()), "{map:02x?}");
    }
    for map in [&[0xC1, 2, 1, 0x40][..], &[0xD1, 0, 0, 0, 5, 0, 0, 0, 1, 0x40]] {
        assert!(encoded_len(map).is_err(), "{map:02x?}");
    }
}

#[test]
fn a_size_beyond_the_received_bytes_is_refused() {
    for bytes in
        [&[0xA1, 9, b'a'][..], &[0xB1, 0xFF, 0xFF, 0xFF, 0xFF], &[0xD0, 0x7F, 0, 0, 0, 0, 0, 0, 1], &[]]
    {
        assert!(encoded_len(bytes).is_err(), "{bytes:02x?}");
    }
}

#[test]
fn a_count_that_does_not_fit_its_size_is_refused() {
    assert!(encoded_len(&[0xC0, 2, 2, 0x40]).is_err());
    assert!(encoded_len(&[0xC0, 3, 1, 0x40, 0x40]).is_err());
}

#[test]
fn deep_nesting_is_refused_and_ordinary_nesting_is_not() {
    let nested = |levels: usize| {
        let mut bytes = vec![0x40];
        for _ in 0..levels {
            let mut outer = vec![0xD0];
            outer.extend((bytes.len() as u32 + 4).to_be_bytes());
            outer.extend(1u32.to_be_bytes());
            outer.append(&mut bytes);
            bytes = outer;
        }
        bytes
    };
    assert!(encoded_len(&nested(NESTING_MAX)).is_ok());
    assert!(encoded_len(&nested(NESTING_MAX + 1)).is_err());
    assert!(encoded_len(&nested(6000)).is_err());
    assert!(encoded_len(&[0x00; 4000]).is_err());
}

#[test]
fn arrays_the_decoder_would_lose_its_place_in_are_read_as_empty() {
    let nothing = [0xE0, 2, 0, 0xA3];
    let lists = [0xE0, 6, 2, 0xC0, 1, 0, 1, 0];
    let described = [0xE0, 5, 2, 0x00, 0x53, 0x70, 0x41];
    for array in [&nothing[..], &lists, &described, &[0xF0, 0, 0, 0, 5, 0, 0, 0, 0, 0xA3]] {
        let list = [&[0xC0, array.len() as u8 + 3, 2][..], array, &[0x52, 7]].concat();
        assert_eq!(encoded_len(&list), Ok(list.len()));
        let Value::List(items) = decode(&list).unwrap() else { panic!("no list") };
        assert!(
            matches!(&items[..], [Value::Array(empty), Value::Uint(7)] if empty.0.is_empty()),
            "{items:?}"
        );
    }
}

#[test]
fn arrays_of_scalars_keep_their_elements() {
    let list = [0xC0, 10, 2, 0xE0, 6, 2, 0xA3, 1, b'a', 1, b'b', 0x41];
    let Value::List(items) = decode(&list).unwrap() else { panic!("no list") };
    assert!(matches!(&items[..], [Value::Array(two), Value::Bool(true)] if two.0.len() == 2), "{items:?}");
}

#[test]
fn a_descriptor_is_a_number_or_a_symbol() {
    assert_eq!(described(&[0x00, 0x53, 0x24, 0x45], &[]).unwrap().0, 0x24);
    for descriptor in [&[0xC0, 2, 1, 0x40][..], &[0xE0, 3, 1, 0x55, 1], &[0x00, 0x53, 1, 0x40], &[0x41]] {
        assert!(described(&[&[0x00], descriptor, &[0x45]].concat(), &[]).is_err(), "{descriptor:02x?}");
    }
}

#[test]
fn an_array_of_millions_of_nothings_is_refused() {
    let mut bytes = vec![0xF0, 0, 0, 0, 5];
    bytes.extend(2_000_000_000u32.to_be_bytes());
    bytes.push(0x40);
    assert!(encoded_len(&bytes).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_the_walk_or_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(length) = encoded_len(&bytes) {
            let _ = decode::<Value>(bytes.get(..length).unwrap());
        }
    }

    #[test]
    fn what_is_put_into_a_simpler_form_says_the_same(value in any_value()) {
        let mut simpler = Vec::new();
        Cursor(&value).simplify(&mut simpler).unwrap();
        prop_assert_eq!(encoded_len(&value), Ok(value.len()));
        prop_assert_eq!(encoded_len(&simpler), Ok(simpler.len()));
        let plain: Value = serde_amqp::from_slice(&value).unwrap();
        prop_assert_eq!(serde_amqp::from_slice::<Value>(&simpler).unwrap(), plain);
    }
}

/// Values the decoder reads right as they are.
fn any_value() -> impl Strategy<Value = Vec<u8>> {
    let scalar = prop_oneof![
        Just(vec![0x40]),
        Just(vec![0x41]),
        any::<u8>().prop_map(|byte| vec![0x52, byte]),
        any::<u32>().prop_map(|number| [&[0x70][..], &number.to_be_bytes()].concat()),
        "[a-z]{0,9}".prop_map(|text| [&[0xA1, text.len() as u8], text.as_bytes()].concat()),
        proptest::collection::vec(any::<u8>(), 1..5).prop_map(|bytes| [
            &[0xE0, bytes.len() as u8 + 2, bytes.len() as u8, 0x50],
            &bytes[..]
        ]
        .concat()),
    ];
    scalar.prop_recursive(4, 24, 4, |inner| {
        proptest::collection::vec(inner, 1..4).prop_map(|items| {
            let body = items.concat();
            let size = (body.len() as u32 + 4).to_be_bytes();
            [&[0xD0][..], &size, &(items.len() as u32).to_be_bytes(), &body].concat()
        })
    })
}
