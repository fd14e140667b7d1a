-- SynthoHive in five steps. It writes into ./demo_output and ./synth_models.

-- 1. A real table. This one comes with the project: the customers of a shop, in Parquet. Yours may be CSV, JSON or Delta.
CREATE EXTERNAL TABLE customers STORED AS PARQUET LOCATION 'demo_output/shop/customers.parquet';

SELECT segment, count(*) AS customers, round(avg(date_part('year', birth_date))) AS born, round(avg(credit_limit)) AS credit
FROM customers GROUP BY segment ORDER BY customers DESC;

-- 2. Learn it. The model is kept in ./synth_models (SET synth.store = '…'), version by version.
SET synth.seed = 7;

SELECT epoch, round(loss, 3) AS loss, round(score, 3) AS score, round(rows_per_second) AS rows_per_second, version
FROM synth_train('customers') WHERE epoch % 5 = 0 OR version IS NOT NULL
ORDER BY version NULLS FIRST, epoch;

SELECT model, version, rows, round(score, 3) AS score, created FROM synth.models WHERE current;

-- 3. Customers that do not exist, with the schema of those that do.
SELECT customer_id, name, email, phone, city, country, birth_date, segment, credit_limit
FROM synth_sample('customers', 8);

-- 4. A million of them, in Parquet. The same seed gives the same million everywhere.
COPY (SELECT * FROM synth_sample('customers', 1e6)) TO './demo_output/synthetic/customers.parquet';

-- 5. How alike are they? The synthetic customers are an ordinary table.
CREATE VIEW both_tables AS
SELECT true AS is_real, * FROM customers UNION ALL SELECT false, * FROM './demo_output/synthetic/customers.parquet';

SELECT segment,
       round(100.0 * sum(1) FILTER (WHERE is_real) / 8000, 1) AS real_percent,
       round(100.0 * sum(1) FILTER (WHERE NOT is_real) / 1e6, 1) AS synthetic_percent,
       round(avg(date_part('year', birth_date)) FILTER (WHERE is_real)) AS real_born,
       round(avg(date_part('year', birth_date)) FILTER (WHERE NOT is_real)) AS synthetic_born,
       round(avg(credit_limit) FILTER (WHERE is_real)) AS real_credit,
       round(avg(credit_limit) FILTER (WHERE NOT is_real)) AS synthetic_credit
FROM both_tables GROUP BY segment ORDER BY real_percent DESC;

SELECT country,
       round(100.0 * sum(1) FILTER (WHERE is_real) / 8000, 1) AS real_percent,
       round(100.0 * sum(1) FILTER (WHERE NOT is_real) / 1e6, 1) AS synthetic_percent
FROM both_tables GROUP BY country ORDER BY real_percent DESC;

-- 0 is the same distribution, 1 nothing in common.
SELECT round(tvd(country, is_real), 3) AS country, round(tvd(segment, is_real), 3) AS segment, round(tvd(newsletter, is_real), 3) AS newsletter,
       round(ks_distance(birth_date, is_real), 3) AS birth_date, round(ks_distance(credit_limit, is_real), 3) AS credit_limit,
       round(ks_distance(signup_at, is_real), 3) AS signup_at
FROM both_tables;
