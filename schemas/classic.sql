CREATE EXTERNAL TABLE IF NOT EXISTS `clb_access_logs` (
  `timestamp` timestamp COMMENT 'When the load balancer received the request, or accepted the TCP connection',
  `elb_name` string COMMENT 'Name of the load balancer',
  `request_ip` string COMMENT 'Address of the client',
  `request_port` int COMMENT 'Port of the client',
  `backend_ip` string COMMENT 'Address of the registered instance; NULL if none was reached',
  `backend_port` int COMMENT 'Port of the registered instance',
  `request_processing_time` double COMMENT 'Seconds from receiving the request to sending it to an instance; -1 if it was not dispatched',
  `backend_processing_time` double COMMENT 'Seconds until the instance began to respond; -1 if it was not reached or did not respond',
  `client_response_time` double COMMENT 'Seconds from the instance\'s response headers to the first byte sent to the client; -1 if there was no response',
  `elb_response_code` int COMMENT 'Status code that the load balancer sent; NULL for TCP and SSL listeners',
  `backend_response_code` int COMMENT 'Status code that the instance sent; NULL for TCP and SSL listeners',
  `received_bytes` bigint COMMENT 'Size of the request body in bytes; for TCP and SSL listeners, all bytes received from the client',
  `sent_bytes` bigint COMMENT 'Size of the response body in bytes; for TCP and SSL listeners, all bytes sent to the client',
  `request_verb` string COMMENT 'HTTP method: the request line up to its first space; NULL for TCP and SSL listeners',
  `url` string COMMENT 'URL as sent by the client: the request line between its first and last spaces; NULL for TCP and SSL listeners',
  `protocol` string COMMENT 'HTTP version: the request line after its last space; NULL for TCP and SSL listeners',
  `user_agent` string COMMENT 'User-Agent header; NULL for TCP and SSL listeners',
  `ssl_cipher` string COMMENT 'TLS cipher; NULL for HTTP and TCP listeners',
  `ssl_protocol` string COMMENT 'TLS version; NULL for HTTP and TCP listeners',
  `extra_fields` string COMMENT 'Unchanged text of fields that AWS added after this version',
  `source_key` string COMMENT 'Key of the object that the row came from'
)
COMMENT 'Requests and connections served by Classic Load Balancers, one row per request or connection. Partitions are days of delivery (UTC): the last minutes of a day can be in the next partition, so select two days and filter by time'
PARTITIONED BY (
  `account` string COMMENT 'Account of the load balancer, 12 digits; every query must specify it',
  `region` string COMMENT 'Region of the load balancer; every query must specify it',
  `year` string COMMENT 'Year of delivery, four digits',
  `month` string COMMENT 'Month of delivery, two digits',
  `day` string COMMENT 'Day of delivery, two digits'
)
STORED AS PARQUET
LOCATION 's3://my-lake/alb/clb_access_logs/'
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
  'storage.location.template' = 's3://my-lake/alb/clb_access_logs/account=${account}/region=${region}/year=${year}/month=${month}/day=${day}/'
);
