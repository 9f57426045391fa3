// Package checksums computes the checksums of a file's columns and rows, as checksums.py defines them.
package checksums

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"strconv"
	"strings"
)

// File accumulates the checksums of a file, value by value.
type File struct {
	names  []string
	values []uint64
	sums   []uint64
	row    []byte
	column int
	rows   uint64
	sum    uint64
}

// New returns the checksums of a file without rows.
func New(names []string) *File {
	return &File{names: names, values: make([]uint64, len(names)), sums: make([]uint64, len(names))}
}

// Null adds a NULL as the value of the next column.
func (file *File) Null() {
	file.row = append(file.row, '-')
	file.next()
}

// Bytes adds text or binary as the value of the next column.
func (file *File) Bytes(text []byte) {
	file.values[file.column]++
	file.sums[file.column] += uint64(crc32.ChecksumIEEE(text))
	file.row = strconv.AppendInt(file.row, int64(len(text)), 10)
	file.row = append(file.row, ':')
	file.row = append(file.row, text...)
	file.next()
}

// Integer adds an integer, or a time in microseconds, as the value of the next column.
func (file *File) Integer(value int64) {
	file.Bytes(strconv.AppendInt(nil, value, 10))
}

// Double adds a double as the value of the next column.
func (file *File) Double(value float64) {
	bits := binary.BigEndian.AppendUint64(nil, math.Float64bits(value))
	file.Bytes(hex.AppendEncode(nil, bits))
}

func (file *File) next() {
	file.column++
	if file.column == len(file.names) {
		file.rows++
		file.sum += uint64(crc32.ChecksumIEEE(file.row))
		file.row = file.row[:0]
		file.column = 0
	}
}

// Main reads every file in the list named on the command line, and prints the file's checksums or the error.
func Main(read func(path string) (*File, error)) {
	list, err := os.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	lines := bufio.NewScanner(list)
	for lines.Scan() {
		path := strings.Split(lines.Text(), "\t")[0]
		found := map[string]any{"reader": "", "name": path}
		if file, err := attempt(read, path); err != nil {
			found["error"] = err.Error()
		} else {
			columns := map[string][2]uint64{}
			for each, name := range file.names {
				columns[name] = [2]uint64{file.values[each], file.sums[each]}
			}
			found["rows"], found["sum"], found["columns"] = file.rows, file.sum, columns
		}
		text, err := json.Marshal(found)
		if err != nil {
			panic(err)
		}
		fmt.Println(string(text))
	}
	if err := lines.Err(); err != nil {
		panic(err)
	}
}

// attempt reads a file, and converts a panic in the reader to an error.
func attempt(read func(path string) (*File, error), path string) (file *File, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("panic: %v", problem)
		}
	}()
	return read(path)
}
