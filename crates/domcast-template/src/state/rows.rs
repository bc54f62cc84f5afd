//! A list with items of one type, kept as a state.

use super::{List, State, StateError};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// A list with items of one type, kept as a [`State`]: for data that is handed over as a whole after each change, such as that of a Rust view.
///
/// A clone costs nothing, a change `O(log n)`, and a state that is made of data with such rows has them as they are. So
/// an update with 10,000 rows, of which one changed, does not look at the others. A row is written and read as serde does it, each time it
/// is put in or looked at: about as much as a row of JSON.
///
/// ```
/// use domcast_template::{Rows, State};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Tea {
///     name: String,
///     price: u32,
/// }
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Shop {
///     teas: Rows<Tea>,
/// }
///
/// let teas = ["Assam", "Darjeeling"].map(|name| Tea { name: name.into(), price: 3 });
/// let mut shop = Shop { teas: Rows::new(teas)? };
/// let old = State::new(&shop)?;
///
/// shop.teas.update(1, |tea| tea.price = 4)?;
/// let new = old.renewed(&shop)?;
/// assert_eq!(new.at(&"teas.1.price".into()), Some(&State::Int(4)));
/// assert!(new.at(&"teas.0".into()).unwrap().is_same(old.at(&"teas.0".into()).unwrap()));
/// # Ok::<(), domcast_template::StateError>(())
/// ```
pub struct Rows<T> {
    list: Arc<List>,
    row: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Rows<T> {
    /// These rows.
    ///
    /// # Errors
    ///
    /// [`StateError`]: a row cannot be serialized, or what it is written as is not read as a row.
    pub fn new(rows: impl IntoIterator<Item = T>) -> Result<Rows<T>, StateError> {
        let State::List(list) = State::new(&Vec::from_iter(rows))? else { unreachable!("a vector is a list") };
        list.iter().try_for_each(|row| read::<T>(row).map(drop))?;
        Ok(Rows { list, row: PhantomData })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Reads the row at a position.
    pub fn get(&self, idx: usize) -> Option<T> {
        self.list.get(idx).map(read_again)
    }

    /// Reads all rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + '_ {
        self.list.iter().map(read_again)
    }

    /// Changes the row at a position.
    ///
    /// # Errors
    ///
    /// [`StateError`]: there is no such row, or it cannot be serialized now. The rows are as they were.
    pub fn update(&mut self, idx: usize, change: impl FnOnce(&mut T)) -> Result<(), StateError> {
        let old = self.list.get(idx).ok_or_else(|| self.no_such(idx))?;
        let mut row = read_again(old);
        change(&mut row);
        let new = write(&row, Some(old))?;
        if !new.is_alike(old) {
            *Arc::make_mut(&mut self.list).get_mut(idx).expect("it was read from there") = new;
        }
        Ok(())
    }

    /// Puts a row before the one at `idx`, or at the end if `idx` is the length.
    ///
    /// # Errors
    ///
    /// [`StateError`]: there are fewer rows, or it cannot be serialized. The rows are as they were.
    pub fn insert(&mut self, idx: usize, row: &T) -> Result<(), StateError> {
        if idx > self.len() {
            return Err(self.no_such(idx));
        }
        let row = write(row, self.list.get(0))?;
        Arc::make_mut(&mut self.list).insert(idx, row);
        Ok(())
    }

    /// Puts a row at the end.
    ///
    /// # Errors
    ///
    /// [`StateError`]: it cannot be serialized. The rows are as they were.
    pub fn push(&mut self, row: &T) -> Result<(), StateError> {
        self.insert(self.len(), row)
    }

    /// Takes the row at a position out.
    ///
    /// # Errors
    ///
    /// [`StateError`]: there is no such row.
    pub fn remove(&mut self, idx: usize) -> Result<T, StateError> {
        if idx >= self.len() {
            return Err(self.no_such(idx));
        }
        Ok(read_again(&Arc::make_mut(&mut self.list).remove(idx)))
    }

    fn no_such(&self, idx: usize) -> StateError {
        StateError::new(format!("there is no row {idx} of {}", self.len()))
    }
}

/// Writes a row that can be read; what is equal in another one is shared with it.
fn write<T: Serialize + DeserializeOwned>(row: &T, other: Option<&State>) -> Result<State, StateError> {
    let state = other.unwrap_or(&State::Null).renewed(row)?;
    read::<T>(&state)?;
    Ok(state)
}

fn read<T: DeserializeOwned>(state: &State) -> Result<T, StateError> {
    T::deserialize(state.to_value()).map_err(|error| StateError::new(error.to_string()))
}

fn read_again<T: DeserializeOwned>(state: &State) -> T {
    read(state).expect("each row was read when it was put in")
}

impl<T> Clone for Rows<T> {
    fn clone(&self) -> Rows<T> {
        Rows { list: Arc::clone(&self.list), row: PhantomData }
    }
}

impl<T> Default for Rows<T> {
    fn default() -> Rows<T> {
        Rows { list: Arc::default(), row: PhantomData }
    }
}

impl<T> fmt::Debug for Rows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list.fmt(f)
    }
}

impl<T> Serialize for Rows<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        State::List(Arc::clone(&self.list)).serialize(serializer)
    }
}

impl<'de, T: Serialize + DeserializeOwned> Deserialize<'de> for Rows<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rows<T>, D::Error> {
        Rows::new(Vec::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
