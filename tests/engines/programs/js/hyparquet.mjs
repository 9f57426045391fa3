// Reads files with hyparquet.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import zlib from 'node:zlib'

const [list, packages] = process.argv.slice(2)
const from = createRequire(pathToFileURL(`${packages}/`))
const load = name => import(pathToFileURL(from.resolve(name)))
const { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } = await load('hyparquet')
const { compressors } = await load('hyparquet-compressors')

// Leave text and times in their stored form.
const parsers = { stringFromBytes: bytes => bytes, timestampFromMicroseconds: micros => micros }
const double = Buffer.alloc(8)

function textOf(value, type) {
  if (value instanceof Uint8Array) return Buffer.from(value)
  if (type === 'DOUBLE') {
    double.writeDoubleBE(value)
    return Buffer.from(double.toString('hex'))
  }
  return Buffer.from(String(value))
}

async function read(path) {
  const file = await asyncBufferFromFile(path)
  const metadata = await parquetMetadataAsync(file, { parsers })
  const columns = metadata.schema.slice(1)
  const sums = columns.map(() => [0, 0])
  let sum = 0
  const rows = await parquetReadObjects({ file, metadata, compressors, parsers, utf8: false })
  for (const row of rows) {
    const parts = []
    columns.forEach(({ name, type }, place) => {
      const value = row[name]
      if (value === null || value === undefined) {
        parts.push(Buffer.from('-'))
        return
      }
      const text = textOf(value, type)
      sums[place][0] += 1
      sums[place][1] += zlib.crc32(text)
      parts.push(Buffer.from(`${text.length}:`), text)
    })
    sum += zlib.crc32(Buffer.concat(parts))
  }
  return { rows: rows.length, sum, columns: Object.fromEntries(columns.map(({ name }, place) => [name, sums[place]])) }
}

for (const line of readFileSync(list, 'utf8').trimEnd().split('\n')) {
  const name = line.split('\t')[0]
  try {
    console.log(JSON.stringify({ reader: '', name, ...await read(name) }))
  } catch (error) {
    console.error(error)
    console.log(JSON.stringify({ reader: '', name, error: `${error.name}: ${error.message}` }))
  }
}
