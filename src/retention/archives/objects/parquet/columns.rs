//! Rows into columns: Parquet keeps each leaf of a nested row in a column of its own, with two numbers for each value, how
//! much of its path is there and at which list it begins a new element.

use bytes::Bytes;
use parquet::basic::{ConvertedType, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};

/// A value of a row.
#[derive(Clone, Debug)]
pub enum Cell {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    /// Text too.
    Bytes(Bytes),
    /// One for each field.
    Group(Vec<Cell>),
    /// Elements; those of a map are groups of key and value.
    List(Vec<Cell>),
}

#[derive(Debug)]
enum Values {
    Bool(Vec<bool>),
    Int(Vec<i32>),
    Long(Vec<i64>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
}

#[derive(Debug)]
struct Column {
    values: Values,
    /// How much of the path is there, for each value and each that is not.
    defined: Vec<i16>,
    /// Which list goes on.
    repeated: Vec<i16>,
}

/// The rows of a row group.
pub struct Columns {
    schema: TypePtr,
    columns: Vec<Column>,
    rows: usize,
}

/// Where in a row a value stands.
#[derive(Clone, Copy)]
struct At {
    /// The first column below.
    leaf: usize,
    defined: i16,
    repeated: i16,
    /// Lists around it.
    lists: i16,
}

impl Columns {
    pub fn of(schema: &TypePtr) -> Self {
        let mut columns = Vec::new();
        add_leaves(schema, &mut columns);
        Self {
            schema: TypePtr::clone(schema),
            columns,
            rows: 0,
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// One more row: a group with a cell for each field of the schema.
    pub fn add(&mut self, row: &Cell) {
        let schema = TypePtr::clone(&self.schema);
        let start = At {
            leaf: 0,
            defined: 0,
            repeated: 0,
            lists: 0,
        };
        self.fields(schema.get_fields(), row, start);
        self.rows += 1;
    }

    fn fields(&mut self, fields: &[TypePtr], cell: &Cell, mut at: At) {
        let Cell::Group(cells) = cell else {
            debug_assert!(false, "a group has cells for its fields");
            return;
        };
        debug_assert_eq!(cells.len(), fields.len(), "one for each");
        for (field, cell) in fields.iter().zip(cells) {
            self.value(field, cell, at);
            at.leaf += leaves(field);
        }
    }

    fn value(&mut self, field: &Type, cell: &Cell, mut at: At) {
        if field.get_basic_info().repetition() == Repetition::OPTIONAL {
            if let Cell::Null = cell {
                return self.absent(field, at);
            }
            at.defined += 1;
        }
        if field.is_primitive() {
            return self.leaf(cell, at);
        }
        match (field.get_basic_info().converted_type(), cell) {
            (ConvertedType::LIST | ConvertedType::MAP, Cell::List(elements)) => self.list(field, elements, at),
            _ => self.fields(field.get_fields(), cell, at),
        }
    }

    /// A list is a group with one repeated group in it.
    fn list(&mut self, field: &Type, elements: &[Cell], mut at: At) {
        if elements.is_empty() {
            return self.absent(field, at);
        }
        let [repeated] = field.get_fields() else {
            debug_assert!(false, "one repeated group");
            return;
        };
        let is_map = field.get_basic_info().converted_type() == ConvertedType::MAP;
        at.defined += 1;
        at.lists += 1;
        for element in elements {
            match repeated.get_fields() {
                [of_list] if !is_map => self.value(of_list, element, at),
                key_and_value => self.fields(key_and_value, element, at),
            }
            at.repeated = at.lists;
        }
    }

    fn absent(&mut self, field: &Type, at: At) {
        for column in self.columns.iter_mut().skip(at.leaf).take(leaves(field)) {
            column.defined.push(at.defined);
            column.repeated.push(at.repeated);
        }
    }

    fn leaf(&mut self, cell: &Cell, at: At) {
        let Some(column) = self.columns.get_mut(at.leaf) else {
            return;
        };
        match (&mut column.values, cell) {
            (Values::Bool(values), Cell::Bool(value)) => values.push(*value),
            (Values::Int(values), Cell::Int(value)) => values.push(*value),
            (Values::Long(values), Cell::Long(value)) => values.push(*value),
            (Values::Double(values), Cell::Double(value)) => values.push(*value),
            (Values::Bytes(values), Cell::Bytes(value)) => values.push(ByteArray::from(value.clone())),
            // The writer then finds too few values, and refuses.
            _ => debug_assert!(false, "{cell:?} in a column of another type"),
        }
        column.defined.push(at.defined);
        column.repeated.push(at.repeated);
    }

    /// Writes a row group, and begins anew.
    ///
    /// # Errors
    /// Where columns do not fit the schema.
    pub fn write(&mut self, writer: &mut SerializedFileWriter<Vec<u8>>) -> Result<(), ParquetError> {
        let mut group = writer.next_row_group()?;
        let mut columns = self.columns.iter_mut();
        while let (Some(mut to), Some(column)) = (group.next_column()?, columns.next()) {
            let levels = (Some(column.defined.as_slice()), Some(column.repeated.as_slice()));
            match (to.untyped(), &column.values) {
                (ColumnWriter::BoolColumnWriter(to), Values::Bool(values)) => {
                    to.write_batch(values, levels.0, levels.1)
                }
                (ColumnWriter::Int32ColumnWriter(to), Values::Int(values)) => {
                    to.write_batch(values, levels.0, levels.1)
                }
                (ColumnWriter::Int64ColumnWriter(to), Values::Long(values)) => {
                    to.write_batch(values, levels.0, levels.1)
                }
                (ColumnWriter::DoubleColumnWriter(to), Values::Double(values)) => {
                    to.write_batch(values, levels.0, levels.1)
                }
                (ColumnWriter::ByteArrayColumnWriter(to), Values::Bytes(values)) => {
                    to.write_batch(values, levels.0, levels.1)
                }
                _ => Err(ParquetError::General("a column of another type".to_owned())),
            }?;
            to.close()?;
            *column = empty_like(column);
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }
}

fn empty_like(column: &Column) -> Column {
    let values = match &column.values {
        Values::Bool(_) => Values::Bool(Vec::new()),
        Values::Int(_) => Values::Int(Vec::new()),
        Values::Long(_) => Values::Long(Vec::new()),
        Values::Double(_) => Values::Double(Vec::new()),
        Values::Bytes(_) => Values::Bytes(Vec::new()),
    };
    Column {
        values,
        defined: Vec::new(),
        repeated: Vec::new(),
    }
}

fn leaves(node: &Type) -> usize {
    if node.is_primitive() {
        return 1;
    }
    node.get_fields().iter().map(|field| leaves(field)).sum()
}

fn add_leaves(node: &Type, columns: &mut Vec<Column>) {
    if !node.is_primitive() {
        for field in node.get_fields() {
            add_leaves(field, columns);
        }
        return;
    }
    let values = match node.get_physical_type() {
        Physical::BOOLEAN => Values::Bool(Vec::new()),
        Physical::INT32 => Values::Int(Vec::new()),
        Physical::INT64 => Values::Long(Vec::new()),
        Physical::DOUBLE => Values::Double(Vec::new()),
        _ => Values::Bytes(Vec::new()),
    };
    columns.push(Column {
        values,
        defined: Vec::new(),
        repeated: Vec::new(),
    });
}
