CREATE EXTERNAL TABLE IF NOT EXISTS `alb_connection_logs` (
  `time` timestamp COMMENT 'When the load balancer established, or failed to establish, the connection',
  `client_ip` string COMMENT 'Address of the client',
  `client_port` int COMMENT 'Port of the client',
  `listener_port` int COMMENT 'Port of the listener',
  `tls_protocol` string COMMENT 'TLS version; NULL for plain HTTP and after a failed handshake',
  `tls_cipher` string COMMENT 'TLS cipher; NULL for plain HTTP and after a failed handshake',
  `tls_handshake_latency` double COMMENT 'Duration of the TLS handshake in seconds; NULL for plain HTTP and after a failed handshake',
  `leaf_client_cert_subject` string COMMENT 'Subject of the client certificate',
  `leaf_client_cert_validity` string COMMENT 'Validity period of the client certificate, as logged: NotBefore=time;NotAfter=time',
  `leaf_client_cert_not_before` timestamp COMMENT 'Start of the client certificate\'s validity period; NULL if it does not parse',
  `leaf_client_cert_not_after` timestamp COMMENT 'End of the client certificate\'s validity period; NULL if it does not parse',
  `leaf_client_cert_serial_number` string COMMENT 'Serial number of the client certificate, in hexadecimal',
  `tls_verify_status` string COMMENT 'Success, or Failed: followed by a reason code; NULL if there was no client certificate',
  `conn_trace_id` string COMMENT 'Connection ID; join key to the access log',
  `tls_keyexchange` string COMMENT 'Key exchange used in the TLS handshake, such as x25519',
  `elb` string COMMENT 'Resource ID of the load balancer (app/name/id)',
  `ip_address` string COMMENT 'Address of the load balancer node',
  `extra_fields` string COMMENT 'Unchanged text of fields that AWS added after this version',
  `source_key` string COMMENT 'Key of the object that the row came from'
)
COMMENT 'Client connection attempts to Application Load Balancers, one row per attempt. Partitions are days of delivery (UTC): the last minutes of a day can be in the next partition, so select two days and filter by time'
PARTITIONED BY (
  `account` string COMMENT 'Account of the load balancer, 12 digits; every query must specify it',
  `region` string COMMENT 'Region of the load balancer; every query must specify it',
  `year` string COMMENT 'Year of delivery, four digits',
  `month` string COMMENT 'Month of delivery, two digits',
  `day` string COMMENT 'Day of delivery, two digits'
)
STORED AS PARQUET
LOCATION 's3://my-lake/alb/alb_connection_logs/'
TBLPROPERTIES (
  'classification' = 'parquet',
  'projection.enabled' = 'true',
  'projection.account.type' = 'injected',
  'projection.region.type' = 'injected',
  'projection.year.type' = 'date',
  'projection.year.format' = 'yyyy',
  'projection.year.range' = '2023,NOW',
  'projection.year.interval' = '1',
  'projection.year.interval.unit' = 'YEARS',
  'projection.month.type' = 'integer',
  'projection.month.range' = '1,12',
  'projection.month.digits' = '2',
  'projection.day.type' = 'integer',
  'projection.day.range' = '1,31',
  'projection.day.digits' = '2',
  'storage.location.template' = 's3://my-lake/alb/alb_connection_logs/account=${account}/region=${region}/year=${year}/month=${month}/day=${day}/'
);
