-- Writes the tables of create.sql as Parquet files into ./demo_output/shop.

COPY customers TO 'demo_output/shop/customers.parquet';
COPY products TO 'demo_output/shop/products.parquet';
COPY orders TO 'demo_output/shop/orders.parquet';
COPY order_items TO 'demo_output/shop/order_items.parquet';
