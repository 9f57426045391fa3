CREATE EXTERNAL TABLE IF NOT EXISTS `alb_health_check_logs` (
  `type` string COMMENT 'Kind of check: http, https, h2, grpc or lambda',
  `time` timestamp COMMENT 'When the check began',
  `latency` double COMMENT 'Duration of the check in seconds, with nanosecond precision',
  `target_addr` string COMMENT 'Address and port of the target, or ARN of the Lambda function',
  `target_group_id` string COMMENT 'Name of the target group',
  `status` string COMMENT 'PASS or FAIL',
  `status_code` int COMMENT 'Status code that the target sent; NULL if it sent none',
  `reason_code` string COMMENT 'Why the check failed; NULL when it passed',
  `elb` string COMMENT 'Resource ID of the load balancer (app/name/id)',
  `ip_address` string COMMENT 'Address of the load balancer node',
  `extra_fields` string COMMENT 'Unchanged text of fields that AWS added after this version',
  `source_key` string COMMENT 'Key of the object that the row came from'
)
COMMENT 'Health checks of targets by Application Load Balancers, one row per check. Partitions are days of delivery (UTC): the last minutes of a day can be in the next partition, so select two days and filter by time'
PARTITIONED BY (
  `account` string COMMENT 'Account of the load balancer, 12 digits; every query must specify it',
  `region` string COMMENT 'Region of the load balancer; every query must specify it',
  `year` string COMMENT 'Year of delivery, four digits',
  `month` string COMMENT 'Month of delivery, two digits',
  `day` string COMMENT 'Day of delivery, two digits'
)
STORED AS PARQUET
LOCATION 's3://my-lake/alb/alb_health_check_logs/'
TBLPROPERTIES (
  'classification' = 'parquet',
  'projection.enabled' = 'true',
  'projection.account.type' = 'injected',
  'projection.region.type' = 'injected',
  'projection.year.type' = 'date',
  'projection.year.format' = 'yyyy',
  'projection.year.range' = '2025,NOW',
  'projection.year.interval' = '1',
  'projection.year.interval.unit' = 'YEARS',
  'projection.month.type' = 'integer',
  'projection.month.range' = '1,12',
  'projection.month.digits' = '2',
  'projection.day.type' = 'integer',
  'projection.day.range' = '1,31',
  'projection.day.digits' = '2',
  'storage.location.template' = 's3://my-lake/alb/alb_health_check_logs/account=${account}/region=${region}/year=${year}/month=${month}/day=${day}/'
);
