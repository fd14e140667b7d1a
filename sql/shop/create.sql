-- The sample database `shop`: customers, products, orders, order_items.
--
-- Everything is computed from the row numbers with integer arithmetic, so the tables are the same at every run.
-- What is planted in them, and how strongly, is asserted in truth.slt; README.md in this folder lists it.
--
-- Chance: a row number is mixed into r (0 < r < 2147483647, a prime) by squaring, and every independent draw
-- of a row is (r * c) % 2147483647 / 2147483647 with a constant c of its own. All of it fits 64 bits.

-- What customers of a country have in common ------------------------------------------------------------------------

CREATE TABLE shop_countries AS
SELECT column1 AS country, column2 AS above, column3 AS upto, column4 AS dial, column5 AS premium, column6 AS business,
       column7 AS cities, column8 AS first_names, column9 AS last_names, column10 AS streets
FROM (VALUES
  ('DE', 0.00, 0.27, '+49',  0.16, 0.18,
   make_array('Berlin', 'Hamburg', 'München', 'Köln', 'Frankfurt am Main', 'Stuttgart', 'Düsseldorf', 'Leipzig', 'Dortmund', 'Bremen', 'Dresden', 'Nürnberg'),
   make_array('Anna', 'Jürgen', 'Lena', 'Thomas', 'Sabine', 'Lukas', 'Petra', 'Stefan', 'Mia', 'Käthe', 'Jonas', 'Ute'),
   make_array('Müller', 'Schmidt', 'Weber', 'Fischer', 'Schröder', 'Wagner', 'Becker', 'Hoffmann', 'Koch', 'Groß', 'Richter', 'Vogel'),
   make_array('Hauptstraße', 'Gartenweg', 'Bahnhofstraße', 'Lindenallee', 'Am Mühlbach', 'Schillerplatz')),
  ('GB', 0.27, 0.47, '+44',  0.20, 0.09,
   make_array('London', 'Manchester', 'Birmingham', 'Leeds', 'Glasgow', 'Bristol', 'Liverpool', 'Sheffield', 'Cardiff', 'Belfast', 'York', 'Bath'),
   make_array('Olivia', 'Harry', 'Amelia', 'George', 'Isla', 'Oliver', 'Poppy', 'Arthur', 'Freya', 'Noah', 'Nigel', 'Edith'),
   make_array('Smith', 'Jones', 'Taylor', 'Brown', 'Williams', 'Wilson', 'Evans', 'Walker', 'Wright', 'Green', 'O''Neill', 'Hughes'),
   make_array('High Street', 'Station Road', 'Church Lane', 'Victoria Road', 'Mill Lane', 'Kings Avenue')),
  ('FR', 0.47, 0.64, '+33',  0.22, 0.06,
   make_array('Paris', 'Lyon', 'Marseille', 'Toulouse', 'Nice', 'Nantes', 'Strasbourg', 'Bordeaux', 'Lille', 'Rennes', 'Reims', 'Nîmes'),
   make_array('Chloé', 'Louis', 'Léa', 'Hugo', 'Manon', 'Jules', 'Inès', 'Adèle', 'René', 'Zoé', 'Gabriel', 'Alice'),
   make_array('Martin', 'Bernard', 'Dubois', 'Lefèvre', 'Moreau', 'Laurent', 'Simon', 'Michel', 'Garçon', 'Roux', 'Fontaine', 'Chevalier'),
   make_array('Rue de la Paix', 'Avenue Foch', 'Rue Victor Hugo', 'Place du Marché', 'Chemin Vert', 'Quai de la Gare')),
  ('NL', 0.64, 0.75, '+31',  0.15, 0.12,
   make_array('Amsterdam', 'Rotterdam', 'Den Haag', 'Utrecht', 'Eindhoven', 'Groningen', 'Tilburg', 'Almere', 'Breda', 'Nijmegen', 'Haarlem', 'Delft'),
   make_array('Emma', 'Daan', 'Sanne', 'Bram', 'Lotte', 'Sem', 'Fleur', 'Pieter', 'Noor', 'Joris', 'Zoë', 'Kees'),
   make_array('de Jong', 'Jansen', 'de Vries', 'van Dijk', 'Bakker', 'Visser', 'Smit', 'Meijer', 'Mulder', 'de Boer', 'Bos', 'Vos'),
   make_array('Dorpsstraat', 'Kerkstraat', 'Molenweg', 'Singel', 'Stationsplein', 'Julianalaan')),
  ('US', 0.75, 0.86, '+1',   0.24, 0.20,
   make_array('New York', 'Chicago', 'Austin', 'Seattle', 'Denver', 'Boston', 'Portland', 'San Diego', 'Atlanta', 'Phoenix', 'Miami', 'Detroit'),
   make_array('Emily', 'James', 'Ashley', 'Michael', 'Madison', 'Ethan', 'Grace', 'Logan', 'Hannah', 'Tyler', 'Maria', 'Carlos'),
   make_array('Johnson', 'Miller', 'Davis', 'Garcia', 'Rodriguez', 'Anderson', 'Lee', 'Thompson', 'White', 'Clark', 'Young', 'Nguyen'),
   make_array('Main Street', 'Oak Avenue', '2nd Street', 'Maple Drive', 'Park Boulevard', 'Lakeview Road')),
  ('PL', 0.86, 0.94, '+48',  0.08, 0.07,
   make_array('Warszawa', 'Kraków', 'Łódź', 'Wrocław', 'Poznań', 'Gdańsk', 'Szczecin', 'Lublin', 'Katowice', 'Toruń', 'Opole', 'Sopot'),
   make_array('Zofia', 'Jakub', 'Małgorzata', 'Paweł', 'Agnieszka', 'Michał', 'Ola', 'Kacper', 'Ewa', 'Rafał', 'Julia', 'Żaneta'),
   make_array('Nowak', 'Kowalski', 'Wiśniewski', 'Wójcik', 'Kamiński', 'Lewandowski', 'Zieliński', 'Dąbrowski', 'Mazur', 'Król', 'Wrona', 'Sikora'),
   make_array('ul. Polna', 'ul. Leśna', 'ul. Słoneczna', 'ul. Krótka', 'al. Jana Pawła II', 'ul. Długa')),
  ('SE', 0.94, 1.00, '+46',  0.26, 0.08,
   make_array('Stockholm', 'Göteborg', 'Malmö', 'Uppsala', 'Västerås', 'Örebro', 'Linköping', 'Umeå', 'Lund', 'Gävle', 'Borås', 'Kalmar'),
   make_array('Elsa', 'William', 'Astrid', 'Åke', 'Ebba', 'Lars', 'Saga', 'Göran', 'Ida', 'Nils', 'Maja', 'Sven'),
   make_array('Andersson', 'Johansson', 'Karlsson', 'Nilsson', 'Öberg', 'Lindström', 'Bergström', 'Åkesson', 'Holm', 'Nyberg', 'Ek', 'Dahl'),
   make_array('Storgatan', 'Kungsgatan', 'Skolvägen', 'Ringvägen', 'Björkgatan', 'Strandvägen')))
AS facts;

-- What products of a category have in common: which products, their median price, its spread, and the shares of the
-- sales to consumers, premium and business customers that fall into the categories up to this one -------------------

CREATE TABLE shop_categories AS
SELECT column1 AS category, column2 AS first_product, column3 AS products, column4 AS median_price, column5 AS spread,
       column6 AS grams_per_unit, column7 AS consumer_above, column8 AS consumer_upto,
       column9 AS premium_above, column10 AS premium_upto, column11 AS business_above, column12 AS business_upto
FROM (VALUES
  ('books',         1, 110,  14.0, 0.35,  12.0, 0.00, 0.26, 0.00, 0.16, 0.00, 0.10),
  ('clothing',    111, 100,  38.0, 0.50,   9.0, 0.26, 0.46, 0.16, 0.36, 0.10, 0.13),
  ('home',        211,  80,  55.0, 0.70,  30.0, 0.46, 0.60, 0.36, 0.52, 0.13, 0.23),
  ('toys',        291,  60,  24.0, 0.45,  20.0, 0.60, 0.75, 0.52, 0.59, 0.23, 0.25),
  ('sports',      351,  50,  70.0, 0.65,  22.0, 0.75, 0.83, 0.59, 0.73, 0.25, 0.29),
  ('office',      401,  50,  18.0, 0.80,  40.0, 0.83, 0.88, 0.73, 0.76, 0.29, 0.71),
  ('electronics', 451,  40, 290.0, 0.75,   3.0, 0.88, 0.94, 0.76, 0.96, 0.71, 0.97),
  ('gift cards',  491,  10,  40.0, 0.50,   0.0, 0.94, 1.00, 0.96, 1.00, 0.97, 1.00))
AS facts;

-- customers ---------------------------------------------------------------------------------------------------------

CREATE TABLE customers (
  customer_id  BIGINT NOT NULL,
  name         VARCHAR NOT NULL,
  email        VARCHAR NOT NULL,
  phone        VARCHAR,
  street       VARCHAR NOT NULL,
  city         VARCHAR NOT NULL,
  country      VARCHAR NOT NULL,
  birth_date   DATE,
  segment      VARCHAR NOT NULL,
  newsletter   BOOLEAN NOT NULL,
  credit_limit DECIMAL(10, 2),
  signup_at    TIMESTAMP NOT NULL,
  PRIMARY KEY (customer_id)
) AS
WITH mixed AS (
  SELECT value AS id, (value * 1103515245 + 12345) % 2147483647 AS x FROM generate_series(1, 8000)
), rolled AS (
  SELECT id, (x * x + id) % 2147483646 + 1 AS r FROM mixed
), draws AS (
  SELECT id, r,
    (r * 1583458089) % 2147483647 / 2147483647.0 AS u_country,
    (r *  784588716) % 2147483647 / 2147483647.0 AS u_city,
    (r * 1226874159) % 2147483647 / 2147483647.0 AS u_age1,
    (r *  398764591) % 2147483647 / 2147483647.0 AS u_age2,
    (r * 1964567891) % 2147483647 / 2147483647.0 AS u_segment,
    (r *  653276953) % 2147483647 / 2147483647.0 AS u_newsletter,
    (r *  911382323) % 2147483647 / 2147483647.0 AS u_phone,
    (r * 2038074743) % 2147483647 / 2147483647.0 AS u_signup,
    (r *   48271049) % 2147483647 / 2147483647.0 AS u_limit,
    (r *  271828183) % 2147483647 / 2147483647.0 AS u_first,
    (r *  577215664) % 2147483647 / 2147483647.0 AS u_last,
    (r * 1414213562) % 2147483647 / 2147483647.0 AS u_street,
    (r * 1732050807) % 2147483647 / 2147483647.0 AS u_birth
  FROM rolled
), people AS (
  SELECT d.*, f.*,
    -- Two waves of customers: around 31 and around 56 years old.
    CASE WHEN u_age1 < 0.62 THEN 19 + 24 * (u_age1 / 0.62 + u_age2) / 2
         ELSE 44 + 26 * ((u_age1 - 0.62) / 0.38 + u_age2) / 2 END AS age
  FROM draws d JOIN shop_countries f ON d.u_country >= f.above AND d.u_country < f.upto
), segments AS (
  -- Premium customers are older, and more of them live in some countries; so do businesses.
  SELECT *, CASE WHEN u_segment < business THEN 'business'
                 WHEN u_segment < business + premium * (0.25 + 1.9 * (age - 19) / 51) THEN 'premium'
                 ELSE 'consumer' END AS segment,
    1 + floor(12 * u_city * u_city) AS nth_city,
    first_names[CAST(1 + floor(12 * u_first) AS BIGINT)] AS first_name,
    last_names[CAST(1 + floor(12 * u_last) AS BIGINT)] AS last_name
  FROM people
)
SELECT
  id AS customer_id,
  first_name || ' ' || last_name AS name,
  translate(lower(first_name), 'äöüåéèëîçńłśżźąęó', 'aouaeeeicnlszzaeo') || '.'
    || replace(replace(translate(lower(last_name), 'äöüåéèëîçńłśżźąęó''', 'aouaeeeicnlszzaeo'), 'ß', 'ss'), ' ', '')
    || id || '@' || CASE WHEN segment = 'business' THEN 'company' WHEN u_age2 < 0.6 THEN 'mail' ELSE 'post' END
    || '.example.' || CASE country WHEN 'US' THEN 'com' ELSE lower(country) END AS email,
  -- Young people without the newsletter rarely leave a number; businesses always do.
  CASE WHEN segment = 'business' OR u_phone > CASE WHEN u_newsletter < 0.45 THEN 0.10 ELSE 0.35 END + CASE WHEN age < 30 THEN 0.35 ELSE 0 END
       THEN dial || ' ' || (100 + r % 900) || ' ' || (1000000 + r % 8999993) END AS phone,
  CASE WHEN country IN ('GB', 'US', 'FR') THEN (1 + r % 120) || ' ' || streets[CAST(1 + floor(6 * u_street) AS BIGINT)]
       ELSE streets[CAST(1 + floor(6 * u_street) AS BIGINT)] || ' ' || (1 + r % 120) END AS street,
  cities[CAST(nth_city AS BIGINT)] AS city,
  country,
  -- Businesses have no date of birth.
  CASE WHEN segment <> 'business' THEN arrow_cast(CAST(20454 - age * 365.25 AS INT), 'Date32') END AS birth_date,
  segment,
  u_newsletter < 0.45 AS newsletter,
  -- Credit is for businesses, and for two thirds of the premium customers; it grows with age.
  CASE WHEN segment = 'business' THEN round(2000 + 18000 * u_limit * u_limit, -2)
       WHEN segment = 'premium' AND u_limit < 0.67 THEN round(500 + 60 * (age - 19) + 1000 * u_limit, -1) END AS credit_limit,
  -- 2021-01-01 and four and a half years on; the shop grows.
  to_timestamp_seconds(CAST(1609459200 + floor(1642 * sqrt(u_signup)) * 86400 + 25200 + floor(54000 * u_birth) AS BIGINT)) AS signup_at
FROM segments
ORDER BY id;

-- products ----------------------------------------------------------------------------------------------------------

CREATE TABLE products (
  product_id  BIGINT NOT NULL,
  sku         VARCHAR NOT NULL,
  name        VARCHAR NOT NULL,
  category    VARCHAR NOT NULL,
  price       DECIMAL(8, 2) NOT NULL,
  weight_g    INT,
  active      BOOLEAN NOT NULL,
  launched_on DATE NOT NULL,
  PRIMARY KEY (product_id)
) AS
WITH mixed AS (
  SELECT value AS id, (value * 1664525 + 1013904223) % 2147483647 AS x FROM generate_series(1, 500)
), rolled AS (
  SELECT id, (x * x + id) % 2147483646 + 1 AS r FROM mixed
), draws AS (
  SELECT id, r,
    (r * 1583458089) % 2147483647 / 2147483647.0 AS u_price1,
    (r *  784588716) % 2147483647 / 2147483647.0 AS u_price2,
    (r * 1226874159) % 2147483647 / 2147483647.0 AS u_weight,
    (r *  398764591) % 2147483647 / 2147483647.0 AS u_active,
    (r * 1964567891) % 2147483647 / 2147483647.0 AS u_launch,
    (r *  653276953) % 2147483647 / 2147483647.0 AS u_colour,
    (r *  911382323) % 2147483647 / 2147483647.0 AS u_adjective
  FROM rolled
), priced AS (
  -- Log-normal prices within a category, ending in .99 (gift cards: round sums).
  SELECT d.*, c.*,
    CASE WHEN category = 'gift cards' THEN 10.0 * (1 + (id - first_product))
         ELSE floor(median_price * exp(spread * sqrt(-2 * ln(u_price1)) * cos(2 * pi() * u_price2))) + 0.99 END AS price
  FROM draws d JOIN shop_categories c ON d.id >= c.first_product AND d.id < c.first_product + c.products
)
SELECT
  id AS product_id,
  upper(substr(category, 1, 3)) || '-' || lpad(CAST(id * 7919 % 100000 AS VARCHAR), 5, '0') || '-'
    || (make_array('BK', 'WH', 'RD', 'BL', 'GN'))[CAST(1 + floor(5 * u_colour) AS BIGINT)] AS sku,
  (make_array('Classic', 'Compact', 'Deluxe', 'Everyday', 'Natural', 'Smart', 'Studio', 'Vintage'))[CAST(1 + floor(8 * u_adjective) AS BIGINT)]
    || ' ' || category || ' no. ' || (id - first_product + 1) AS name,
  category,
  price,
  -- A gift card weighs nothing that anybody would write down.
  CASE WHEN category <> 'gift cards' THEN round(50 + grams_per_unit * price * (0.6 + 0.8 * u_weight)) END AS weight_g,
  u_active < 0.93 AS active,
  arrow_cast(CAST(17532 + floor(1090 * u_launch) AS INT), 'Date32') AS launched_on
FROM priced
ORDER BY id;

-- orders and their items --------------------------------------------------------------------------------------------

-- Who orders how often: no order at all is its own case, and the rest has a long tail.
CREATE TABLE shop_order_counts AS
WITH mixed AS (
  SELECT customer_id, segment, country, birth_date, CAST(floor(extract(epoch FROM signup_at)) AS BIGINT) AS signup,
    (customer_id * 22695477 + 1) % 2147483647 AS x
  FROM customers
), draws AS (
  SELECT *, (((x * x + customer_id) % 2147483646 + 1) * 1583458089) % 2147483647 / 2147483647.0 AS u_none,
    (((x * x + customer_id) % 2147483646 + 1) * 784588716) % 2147483647 / 2147483647.0 AS u_count,
    CASE segment WHEN 'consumer' THEN 0.40 WHEN 'business' THEN 0.25 ELSE 0.10 END AS none,
    CASE segment WHEN 'consumer' THEN 2.7 WHEN 'business' THEN 5.5 ELSE 8.0 END AS mean
  FROM mixed
)
SELECT customer_id, segment, country, birth_date, signup,
  CASE WHEN u_none < none THEN 0
       ELSE least(60, 1 + CAST(floor(ln(1 - u_count) / ln(1 - 1 / mean)) AS BIGINT)) END AS orders
FROM draws;

CREATE TABLE shop_orders AS
WITH numbered AS (
  SELECT customer_id, segment, country, signup, birth_date, unnest(generate_series(1, orders)) AS nth
  FROM shop_order_counts WHERE orders > 0
), mixed AS (
  SELECT *, (customer_id * 69069 + nth * 1234567891) % 2147483647 AS x FROM numbered
), rolled AS (
  SELECT *, ((x * x % 2147483647 + x) * 16807 + nth) % 2147483646 + 1 AS r FROM mixed
), draws AS (
  SELECT *,
    (r * 1583458089) % 2147483647 / 2147483647.0 AS u_date1,
    (r *  784588716) % 2147483647 / 2147483647.0 AS u_date2,
    (r * 1226874159) % 2147483647 / 2147483647.0 AS u_season,
    (r *  398764591) % 2147483647 / 2147483647.0 AS u_hour,
    (r * 1964567891) % 2147483647 / 2147483647.0 AS u_channel,
    (r *  653276953) % 2147483647 / 2147483647.0 AS u_status,
    (r *  911382323) % 2147483647 / 2147483647.0 AS u_payment,
    (r * 2038074743) % 2147483647 / 2147483647.0 AS u_ship,
    (r *   48271049) % 2147483647 / 2147483647.0 AS u_deliver,
    (r *  271828183) % 2147483647 / 2147483647.0 AS u_items
  FROM rolled
), days AS (
  -- Two candidate days between the sign-up and 2025-12-31; the one before Christmas is preferred.
  SELECT *, signup / 86400 + 1 + CAST(floor((20453 - signup / 86400) * u_date1) AS BIGINT) AS day1,
    signup / 86400 + 1 + CAST(floor((20453 - signup / 86400) * u_date2) AS BIGINT) AS day2
  FROM draws
), dated AS (
  SELECT *, CASE WHEN date_part('month', arrow_cast(CAST(day2 AS INT), 'Date32')) >= 11 AND u_season < 0.6 THEN day2 ELSE day1 END AS day
  FROM days
), timed AS (
  -- Businesses order in office hours, everybody else mostly in the evening.
  SELECT *, day * 86400 + CASE WHEN segment = 'business' THEN 28800 + CAST(floor(32400 * u_hour) AS BIGINT)
                               ELSE 25200 + CAST(floor(59400 * sqrt(u_hour)) AS BIGINT) END AS ordered,
    CASE WHEN segment = 'business' THEN CASE WHEN u_channel < 0.9 THEN 'web' ELSE 'phone' END
         WHEN birth_date > DATE '1990-01-01' THEN CASE WHEN u_channel < 0.66 THEN 'app' ELSE 'web' END
         WHEN u_channel < 0.15 THEN 'app' WHEN u_channel < 0.85 THEN 'web' ELSE 'phone' END AS channel
  FROM dated
)
SELECT row_number() OVER (ORDER BY customer_id, nth) AS order_id, *,
  CASE WHEN day > 20443 THEN 'open'
       WHEN u_status < CASE channel WHEN 'app' THEN 0.09 WHEN 'web' THEN 0.05 ELSE 0.02 END THEN 'cancelled'
       WHEN u_status > 0.93 THEN 'returned'
       ELSE 'delivered' END AS status
FROM timed;

CREATE TABLE order_items (
  order_item_id BIGINT NOT NULL,
  order_id      BIGINT NOT NULL,
  line          INT NOT NULL,
  product_id    BIGINT NOT NULL,
  quantity      INT NOT NULL,
  unit_price    DECIMAL(8, 2) NOT NULL,
  discount      DECIMAL(3, 2) NOT NULL,
  gift_wrap     BOOLEAN,
  PRIMARY KEY (order_item_id)
) AS
WITH numbered AS (
  SELECT order_id, segment, ordered, r AS order_r,
    unnest(generate_series(1, least(12, 1 + CAST(floor(ln(1 - u_items) / ln(CASE segment WHEN 'business' THEN 0.72 ELSE 0.55 END)) AS BIGINT)))) AS line
  FROM shop_orders
), mixed AS (
  SELECT *, (order_r * 40692 + line * 1812433253) % 2147483647 AS x FROM numbered
), rolled AS (
  SELECT *, (x * x + line) % 2147483646 + 1 AS r FROM mixed
), draws AS (
  SELECT *,
    (r * 1583458089) % 2147483647 / 2147483647.0 AS u_category,
    (r *  784588716) % 2147483647 / 2147483647.0 AS u_product,
    (r * 1226874159) % 2147483647 / 2147483647.0 AS u_quantity,
    (r *  398764591) % 2147483647 / 2147483647.0 AS u_discount,
    (r * 1964567891) % 2147483647 / 2147483647.0 AS u_gift
  FROM rolled
), picked AS (
  -- The segment decides between the categories; within one, the first products sell most.
  SELECT d.*, c.category, c.first_product + CAST(floor(c.products * u_product * u_product) AS BIGINT) AS product_id
  FROM draws d JOIN shop_categories c
    ON d.u_category >= CASE d.segment WHEN 'consumer' THEN c.consumer_above WHEN 'premium' THEN c.premium_above ELSE c.business_above END
   AND d.u_category <  CASE d.segment WHEN 'consumer' THEN c.consumer_upto WHEN 'premium' THEN c.premium_upto ELSE c.business_upto END
), discounted AS (
  -- Premium customers get something off more often; nothing is taken off gift cards.
  SELECT p.*, q.price,
    CASE WHEN p.category = 'gift cards' THEN 0.0
         WHEN u_discount < CASE segment WHEN 'premium' THEN 0.20 ELSE 0.05 END THEN 0.20
         WHEN u_discount < CASE segment WHEN 'premium' THEN 0.50 ELSE 0.20 END THEN 0.10
         ELSE 0.0 END AS discount
  FROM picked p JOIN products q ON p.product_id = q.product_id
)
SELECT
  row_number() OVER (ORDER BY order_id, line) AS order_item_id,
  order_id,
  line,
  product_id,
  -- The dearer, the fewer; businesses buy by the box.
  1 + least(24, CAST(floor(ln(1 - u_quantity) / ln(1 - 1 / (1 + CASE segment WHEN 'business' THEN 60.0 ELSE 12.0 END / price))) AS BIGINT)) AS quantity,
  round(price * (1 - discount), 2) AS unit_price,
  discount,
  -- The question was only asked of private customers.
  CASE WHEN segment <> 'business' THEN u_gift < CASE WHEN date_part('month', to_timestamp_seconds(ordered)) = 12 THEN 0.45 ELSE 0.08 END END AS gift_wrap
FROM discounted
ORDER BY order_id, line;

CREATE TABLE orders (
  order_id     BIGINT NOT NULL,
  customer_id  BIGINT NOT NULL,
  ordered_at   TIMESTAMP NOT NULL,
  channel      VARCHAR NOT NULL,
  payment      VARCHAR NOT NULL,
  status       VARCHAR NOT NULL,
  shipped_at   TIMESTAMP,
  delivered_on DATE,
  cancelled_at TIMESTAMP,
  shipping_fee DECIMAL(5, 2) NOT NULL,
  total        DECIMAL(10, 2) NOT NULL,
  PRIMARY KEY (order_id)
) AS
WITH sums AS (
  SELECT order_id, sum(quantity * unit_price) AS goods
  FROM order_items GROUP BY order_id
), dates AS (
  SELECT o.*, s.goods,
    -- Shipped within three days, delivered one to seven days later (overseas: eight to fifteen).
    CASE WHEN status IN ('delivered', 'returned') THEN ordered + 7200 + CAST(floor(252000 * u_ship * u_ship) AS BIGINT) END AS shipped,
    CASE WHEN country = 'US' THEN 8 + floor(8 * u_deliver) ELSE 1 + floor(7 * u_deliver * u_deliver) END AS days,
    -- From 50 on, and for premium customers, shipping is free; overseas costs more.
    CASE WHEN segment = 'premium' OR s.goods >= 50 THEN 0.0 WHEN country = 'US' THEN 9.90 ELSE 4.90 END AS fee
  FROM shop_orders o JOIN sums s ON o.order_id = s.order_id
), arrivals AS (
  SELECT *, CAST(shipped / 86400 + days AS INT) AS arrival FROM dates
)
SELECT
  order_id,
  customer_id,
  to_timestamp_seconds(ordered) AS ordered_at,
  channel,
  -- Businesses pay by invoice, Germans by direct debit, the others by card or wallet.
  CASE WHEN segment = 'business' AND u_payment < 0.8 THEN 'invoice'
       WHEN country = 'DE' AND u_payment < 0.5 THEN 'direct debit'
       WHEN channel = 'app' AND u_payment > 0.5 THEN 'wallet'
       WHEN u_payment > 0.9 THEN 'wallet'
       ELSE 'card' END AS payment,
  -- What had not arrived when 2025 ended is still on its way.
  CASE WHEN arrival > 20453 THEN 'shipped' ELSE status END AS status,
  to_timestamp_seconds(shipped) AS shipped_at,
  CASE WHEN arrival <= 20453 THEN arrow_cast(arrival, 'Date32') END AS delivered_on,
  CASE WHEN status = 'cancelled' THEN to_timestamp_seconds(ordered + 600 + CAST(floor(86400 * u_ship) AS BIGINT)) END AS cancelled_at,
  fee AS shipping_fee,
  goods + fee AS total
FROM arrivals
ORDER BY order_id;

DROP TABLE shop_orders;
DROP TABLE shop_order_counts;
DROP TABLE shop_categories;
DROP TABLE shop_countries;
