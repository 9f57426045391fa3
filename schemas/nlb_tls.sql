CREATE EXTERNAL TABLE IF NOT EXISTS `nlb_tls_logs` (
  `type` string COMMENT 'Listener type: tls',
  `version` string COMMENT 'Version of the log entry, such as 2.0',
  `time` timestamp COMMENT 'When the TLS connection ended',
  `elb` string COMMENT 'Resource ID of the load balancer (net/name/id)',
  `listener_id` string COMMENT 'Resource ID of the TLS listener',
  `client_ip` string COMMENT 'Address of the client',
  `client_port` int COMMENT 'Port of the client',
  `target_ip` string COMMENT 'Address of the destination or, in version 1.0 of the log, of the listener',
  `target_port` int COMMENT 'Port of the destination or, in version 1.0 of the log, of the listener',
  `tcp_connection_time_ms` bigint COMMENT 'Duration of the connection in milliseconds',
  `tls_handshake_time_ms` bigint COMMENT 'Duration of the TLS handshake in milliseconds, including client delays; NULL after a failed handshake',
  `received_bytes` bigint COMMENT 'Bytes received from the client, after decryption',
  `sent_bytes` bigint COMMENT 'Bytes sent to the client, before encryption',
  `incoming_tls_alert` int COMMENT 'TLS alert that the client sent; NULL if it sent none',
  `cert_arn` string COMMENT 'ARN of the certificate that was presented; NULL if there was no valid client hello',
  `certificate_serial` string COMMENT 'Reserved by AWS; currently always NULL',
  `tls_cipher_suite` string COMMENT 'TLS cipher; NULL after a failed handshake',
  `tls_protocol_version` string COMMENT 'TLS version, such as tlsv13; NULL after a failed handshake',
  `tls_named_group` string COMMENT 'Key exchange used in the TLS handshake, such as x25519; NULL in older lines',
  `domain_name` string COMMENT 'SNI domain that the client sent in the TLS handshake',
  `alpn_fe_protocol` string COMMENT 'Application protocol negotiated with the client, such as h2',
  `alpn_be_protocol` string COMMENT 'Application protocol negotiated with the target, such as h2',
  `alpn_client_preference_list` string COMMENT 'Comma-separated list of the application protocols that the client offered, each in quotes; truncated by AWS at 256 bytes',
  `tls_connection_creation_time` timestamp COMMENT 'When the TLS connection began',
  `extra_fields` string COMMENT 'Unchanged text of fields that AWS added after this version',
  `source_key` string COMMENT 'Key of the object that the row came from'
)
COMMENT 'TLS connections to Network Load Balancers, one row per connection. Partitions are days of delivery (UTC): the last minutes of a day can be in the next partition, so select two days and filter by time'
PARTITIONED BY (
  `account` string COMMENT 'Account of the load balancer, 12 digits; every query must specify it',
  `region` string COMMENT 'Region of the load balancer; every query must specify it',
  `year` string COMMENT 'Year of delivery, four digits',
  `month` string COMMENT 'Month of delivery, two digits',
  `day` string COMMENT 'Day of delivery, two digits'
)
STORED AS PARQUET
LOCATION 's3://my-lake/alb/nlb_tls_logs/'
TBLPROPERTIES (
  'classification' = 'parquet',
  'projection.enabled' = 'true',
  'projection.account.type' = 'injected',
  'projection.region.type' = 'injected',
  'projection.year.type' = 'date',
  'projection.year.format' = 'yyyy',
  'projection.year.range' = '2019,NOW',
  'projection.year.interval' = '1',
  'projection.year.interval.unit' = 'YEARS',
  'projection.month.type' = 'integer',
  'projection.month.range' = '1,12',
  'projection.month.digits' = '2',
  'projection.day.type' = 'integer',
  'projection.day.range' = '1,31',
  'projection.day.digits' = '2',
  'storage.location.template' = 's3://my-lake/alb/nlb_tls_logs/account=${account}/region=${region}/year=${year}/month=${month}/day=${day}/'
);
