CREATE EXTERNAL TABLE IF NOT EXISTS `elb_rejects` (
  `log_type` string COMMENT 'Log type of the line',
  `source_key` string COMMENT 'Key of the object that contains the line',
  `line_number` bigint COMMENT 'Number of the line in its object, from 1',
  `byte_offset` bigint COMMENT 'Where the line begins in the decompressed object',
  `reason` string COMMENT 'Why the line was rejected',
  `column_name` string COMMENT 'Column that rejected the value, for invalid_value',
  `raw_length` bigint COMMENT 'Length of the line in bytes',
  `raw_line` binary COMMENT 'The line, as bytes, up to 64 KiB; NULL where rows are redacted'
)
COMMENT 'Log lines that could not become rows, one row per line. Partitions are days of delivery (UTC): the last minutes of a day can be in the next partition, so select two days and filter by time'
PARTITIONED BY (
  `account` string COMMENT 'Account of the load balancer, 12 digits; every query must specify it',
  `region` string COMMENT 'Region of the load balancer; every query must specify it',
  `year` string COMMENT 'Year of delivery, four digits',
  `month` string COMMENT 'Month of delivery, two digits',
  `day` string COMMENT 'Day of delivery, two digits'
)
STORED AS PARQUET
LOCATION 's3://my-lake/alb/elb_rejects/'
TBLPROPERTIES (
  'classification' = 'parquet',
  'projection.enabled' = 'true',
  'projection.account.type' = 'injected',
  'projection.region.type' = 'injected',
  'projection.year.type' = 'date',
  'projection.year.format' = 'yyyy',
  'projection.year.range' = '2014,NOW',
  'projection.year.interval' = '1',
  'projection.year.interval.unit' = 'YEARS',
  'projection.month.type' = 'integer',
  'projection.month.range' = '1,12',
  'projection.month.digits' = '2',
  'projection.day.type' = 'integer',
  'projection.day.range' = '1,31',
  'projection.day.digits' = '2',
  'storage.location.template' = 's3://my-lake/alb/elb_rejects/account=${account}/region=${region}/year=${year}/month=${month}/day=${day}/'
);
