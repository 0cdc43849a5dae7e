//! What components share without knowing each other: one value of a type for the process, made by whoever asks first.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One value of each type. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Commons(Arc<Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>);

impl Commons {
    /// The value of this type.
    pub fn get<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = values.entry(TypeId::of::<T>()).or_insert_with(|| Arc::<T>::default());
        // Under the id of a type stands nothing else.
        Arc::clone(value).downcast().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_for_a_type_gets_the_same_value() {
        let commons = Commons::default();
        *commons.get::<Mutex<u8>>().lock().unwrap() = 3;
        assert_eq!(*commons.clone().get::<Mutex<u8>>().lock().unwrap(), 3);
        assert_eq!(*commons.get::<Mutex<u16>>().lock().unwrap(), 0);
    }
}
