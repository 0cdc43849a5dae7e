//! Spans as a Parquet file: one row a span, columns with the names of OTLP's fields, attributes as maps. What tables are
//! queried with (DuckDB, Athena, Spark, pyarrow) reads them as they are, and [`decode`] makes the same spans of them again.
//!
//! `schema.rs` has the columns, `columns.rs` takes rows apart into them, `span.rs` makes rows of spans and `read.rs` spans of
//! rows. The crate is built without Arrow.

mod any;
mod columns;
mod read;
mod schema;
mod span;
#[cfg(test)]
mod tests;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use std::sync::Arc;

use self::columns::{Cell, Columns};

pub use self::read::decode;

/// Spans of one row group: what a reader holds in memory at a time.
const GROUP: usize = 32_768;

/// The file's bytes.
///
/// # Errors
/// None that depends on the spans.
pub fn encode(request: &ExportTraceServiceRequest, is_compressed: bool) -> Result<Vec<u8>, ParquetError> {
    let schema = Arc::new(schema::schema()?);
    let compression = if is_compressed {
        Compression::ZSTD(ZstdLevel::default())
    } else {
        Compression::UNCOMPRESSED
    };
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_created_by(concat!("radiosonde version ", env!("CARGO_PKG_VERSION")).to_owned())
        .build();
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::clone(&schema), Arc::new(properties))?;
    let mut columns = Columns::of(&schema);
    for resource in &request.resource_spans {
        let of_resource = span::resource_cells(resource);
        for scope in &resource.scope_spans {
            let of_scope = span::scope_cells(scope);
            for one in &scope.spans {
                let mut cells = span::cells(one);
                cells.extend(of_resource.iter().chain(&of_scope).cloned());
                columns.add(&Cell::Group(cells));
                if columns.rows() == GROUP {
                    columns.write(&mut writer)?;
                }
            }
        }
    }
    if columns.rows() > 0 {
        columns.write(&mut writer)?;
    }
    writer.into_inner()
}
