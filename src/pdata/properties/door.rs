//! The door counts what prost counts, and its bytes decode to what it says it let in.

use std::sync::Arc;

use proptest::prelude::*;

use super::{decode, mutated, well_formed};
use crate::pdata::{Batch, Check, Decoded, DoorLimits, Origin, Rejected};

fn full() -> DoorLimits {
    DoorLimits {
        check: Check::Full,
        ..DoorLimits::default()
    }
}

fn origin() -> Arc<Origin> {
    Origin::internal()
}

proptest! {
    #![proptest_config(super::config())]

    #[test]
    fn lets_in_every_well_formed_request_unchanged((signal, bytes, decoded) in well_formed()) {
        for limits in [DoorLimits::default(), full()] {
            let mut admitted = Batch::at_door(signal, bytes.clone(), &limits, origin()).unwrap();
            prop_assert_eq!(admitted.rejected, Rejected::default());
            prop_assert_eq!(admitted.batch.items(), decoded.count_items());
            prop_assert_eq!(admitted.batch.clone().into_bytes(), &bytes);
            prop_assert_eq!(admitted.batch.decode().unwrap(), &decoded);
        }
    }

    #[test]
    fn counts_what_prost_counts_of_mutated_bytes((signal, bytes) in mutated()) {
        let admitted = Batch::at_door(signal, bytes.clone(), &DoorLimits::default(), origin());
        let Some(decoded) = decode(signal, &bytes) else {
            return Ok(());
        };
        match admitted {
            Ok(admitted) => {
                let all = admitted.batch.items() + admitted.rejected.count();
                prop_assert_eq!(all, decoded.count_items());
                let mut batch = admitted.batch;
                prop_assert_eq!(batch.clone().decode().unwrap().count_items(), batch.items());
                if admitted.rejected.count() == 0 {
                    // Unknown fields are the only difference.
                    prop_assert_eq!(format!("{:?}", batch.decode().unwrap()), format!("{decoded:?}"));
                }
            }
            // Prost takes groups among unknown fields and ids of any length.
            Err(error) => {
                let text = error.to_string();
                prop_assert!(text.contains("group") || text.contains("usable"), "{}", text);
            }
        }
    }

    #[test]
    fn what_a_full_check_lets_in_can_be_decoded((signal, bytes) in mutated()) {
        if let Ok(admitted) = Batch::at_door(signal, bytes, &full(), origin()) {
            let mut batch = admitted.batch;
            let items = batch.items();
            prop_assert_eq!(batch.decode().map(|decoded| Decoded::count_items(decoded)).unwrap(), items);
        }
    }

    #[test]
    fn takes_any_bytes_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for signal in crate::pdata::Signal::ALL {
            let _ = Batch::at_door(signal, bytes.clone().into(), &full(), origin());
            let _ = crate::pdata::estimate_decoded(signal, &bytes);
        }
    }
}
