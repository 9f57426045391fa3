// Reads files with parquet-go, row by row.
package main

import (
	"fmt"
	"io"
	"os"

	"engines/checksums"

	"github.com/parquet-go/parquet-go"
)

func main() {
	checksums.Main(read)
}

func read(path string) (*checksums.File, error) {
	input, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer input.Close()
	status, err := input.Stat()
	if err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(input, status.Size())
	if err != nil {
		return nil, err
	}
	var names []string
	for _, column := range file.Schema().Columns() {
		names = append(names, column[0])
	}
	found := checksums.New(names)
	for _, group := range file.RowGroups() {
		if err := readGroup(found, group); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func readGroup(found *checksums.File, group parquet.RowGroup) error {
	rows := group.Rows()
	defer rows.Close()
	buffer := make([]parquet.Row, 1024)
	for {
		count, err := rows.ReadRows(buffer)
		for _, row := range buffer[:count] {
			for _, value := range row {
				if err := add(found, value); err != nil {
					return err
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func add(found *checksums.File, value parquet.Value) error {
	switch {
	case value.IsNull():
		found.Null()
	case value.Kind() == parquet.Int32:
		found.Integer(int64(value.Int32()))
	case value.Kind() == parquet.Int64:
		found.Integer(value.Int64())
	case value.Kind() == parquet.Double:
		found.Double(value.Double())
	case value.Kind() == parquet.ByteArray:
		found.Bytes(value.ByteArray())
	default:
		return fmt.Errorf("a value of %v", value.Kind())
	}
	return nil
}
