// Reads files with arrow-go, as Arrow records.
package main

import (
	"context"
	"fmt"
	"io"

	"engines/checksums"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

func main() {
	checksums.Main(read)
}

func read(path string) (*checksums.File, error) {
	parquet, err := file.OpenParquetFile(path, false)
	if err != nil {
		return nil, err
	}
	defer parquet.Close()
	reader, err := pqarrow.NewFileReader(parquet, pqarrow.ArrowReadProperties{BatchSize: 8192}, memory.DefaultAllocator)
	if err != nil {
		return nil, err
	}
	schema, err := reader.Schema()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, field := range schema.Fields() {
		names = append(names, field.Name)
	}
	records, err := reader.GetRecordReader(context.Background(), nil, nil)
	if err != nil {
		return nil, err
	}
	defer records.Release()
	found := checksums.New(names)
	for records.Next() {
		record := records.RecordBatch()
		for row := range int(record.NumRows()) {
			for _, column := range record.Columns() {
				if err := add(found, column, row); err != nil {
					return nil, err
				}
			}
		}
	}
	if err := records.Err(); err != nil && err != io.EOF {
		return nil, err
	}
	return found, nil
}

func add(found *checksums.File, column arrow.Array, row int) error {
	if column.IsNull(row) {
		found.Null()
		return nil
	}
	switch values := column.(type) {
	case *array.String:
		found.Bytes([]byte(values.Value(row)))
	case *array.Binary:
		found.Bytes(values.Value(row))
	case *array.Int32:
		found.Integer(int64(values.Value(row)))
	case *array.Int64:
		found.Integer(values.Value(row))
	case *array.Timestamp:
		found.Integer(int64(values.Value(row)))
	case *array.Float64:
		found.Double(values.Value(row))
	case *array.Dictionary:
		return add(found, values.Dictionary(), values.GetValueIndex(row))
	default:
		return fmt.Errorf("a column of %T", column)
	}
	return nil
}
