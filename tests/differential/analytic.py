"""Twenty-two analytic queries of TPC-H's shape, written for these tests, over data made here.

Orders and their items share shards by the order's key; customers, parts, suppliers and offers are spread by their own;
regions and nations are on every shard.
"""
import random

from fixed import FixedSchema, table

DAYS = [f"{year}-{month:02}-{day:02}" for year in (2021, 2022, 2023) for month in range(1, 13) for day in (3, 11, 19, 27)]
KINDS = ["STANDARD TIN", "PROMO BRASS", "ECONOMY STEEL", "PROMO TIN", "LARGE BRASS"]


def cents(rng, least, most):
    return f"{rng.randrange(least, most) / 100:.2f}"


def rows(rng):
    """Table's name → its rows, all fields as text."""
    made = {"region": [[str(i), name] for i, name in enumerate(["AFRICA", "AMERICA", "ASIA", "EUROPE"])],
            "nation": [[str(i), name, str(i % 4)] for i, name in enumerate(
                ["KENYA", "BRAZIL", "INDIA", "FRANCE", "EGYPT", "CANADA", "CHINA", "GERMANY", "GHANA", "PERU"])]}
    made["supplier"] = [[str(i), f"Supplier {i}", str(rng.randrange(10)), cents(rng, -90000, 900000),
                         rng.choice(["careful", "slow Customer has Complaints", "quiet"])] for i in range(1, 15)]
    made["part"] = [[str(i), rng.choice(["green ivory", "forest lace", "red tomato", "forest green"]),
                     f"Brand#{rng.randrange(1, 4)}", rng.choice(KINDS), str(rng.randrange(1, 20)),
                     rng.choice(["JUMBO PKG", "MED BOX", "SM CASE"])] for i in range(1, 25)]
    made["offer"] = [[str(part), str(supplier), str(rng.randrange(1, 500)), cents(rng, 100, 99999)]
                     for part in range(1, 25) for supplier in rng.sample(range(1, 15), 3)]
    made["customer"] = [[str(i), f"Customer {i}", str(rng.randrange(10)), f"{rng.randrange(10, 35)}-{rng.randrange(1000)}",
                         cents(rng, -99990, 999990), rng.choice(["BUILDING", "MACHINERY", "AUTOMOBILE"])] for i in range(1, 31)]
    made["orders"], made["lineitem"] = [], []
    for order in range(1, 71):
        day = rng.randrange(len(DAYS) - 12)
        made["orders"].append([str(order), str(rng.randrange(1, 21)), rng.choice("FOP"), cents(rng, 1000, 999999), DAYS[day],
                               rng.choice(["1-URGENT", "2-HIGH", "5-LOW"]),
                               rng.choice(["fine", "special packages requests", "more"])])
        for line in range(1, rng.randrange(2, 6)):
            part, supplier = rng.choice(made["offer"])[:2]
            made["lineitem"].append([
                str(order), part, supplier, str(line), str(rng.randrange(1, 51)), cents(rng, 1000, 99999),
                f"0.0{rng.randrange(0, 10)}", f"0.0{rng.randrange(0, 9)}", rng.choice("NRA"), rng.choice("OF"),
                DAYS[day + rng.randrange(1, 5)], DAYS[day + rng.randrange(2, 8)], DAYS[day + rng.randrange(5, 12)],
                rng.choice(["AIR", "MAIL", "SHIP", "TRUCK"]), rng.choice(["DELIVER IN PERSON", "NONE"])])
    return made


def schema():
    made = [
        table("region", "reference", "region_key int, name text"),
        table("nation", "reference", "nation_key int, name text, region_key int"),
        table("supplier", "sharded", "supplier_key bigint, name text, nation_key int, balance numeric(12,2), comment text",
              "supplier_key"),
        table("part", "sharded", "part_key bigint, name text, brand text, kind text, size int, container text", "part_key",
              "hash"),
        table("offer", "sharded", "part_key bigint, supplier_key bigint, available int, cost numeric(12,2)", "part_key", "hash"),
        table("customer", "sharded", "customer_key int, name text, nation_key int, phone text, balance numeric(12,2), "
              "segment text", "customer_key", "hash"),
        table("orders", "sharded", "order_key bigint, customer_key int, status text, total numeric(12,2), ordered date, "
              "priority text, comment text", "order_key"),
        table("lineitem", "sharded", "order_key bigint, part_key bigint, supplier_key bigint, line int, quantity numeric(12,2), "
              "price numeric(12,2), discount numeric(4,2), tax numeric(4,2), returned text, status text, shipped date, "
              "committed date, "
              "received date, mode text, instruction text", "order_key"),
    ]
    data = rows(random.Random(22))
    for each in made:
        each.rows = data[each.name]
    return FixedSchema(made, "CREATE VIEW revenue AS SELECT supplier_key AS supplier, sum(price * (1 - discount)) AS total "
                       "FROM lineitem WHERE shipped >= date '2022-01-01' AND shipped < date '2022-01-01' + interval '9 month' "
                       "GROUP BY supplier_key;")


QUERIES = [
    # 1: price summary
    """SELECT returned, status, sum(quantity), sum(price), sum(price * (1 - discount)), sum(price * (1 - discount) * (1 + tax)),
       avg(quantity), avg(price), avg(discount), count(*) FROM lineitem WHERE shipped <= date '2023-09-02' - interval '60
       day' GROUP BY returned, status ORDER BY returned, status""",
    # 2: cheapest supplier in a region
    """SELECT s.balance, s.name, n.name, p.part_key, o.cost FROM part p, supplier s, offer o, nation n, region r WHERE p.part_key =
       o.part_key AND s.supplier_key = o.supplier_key AND p.size > 3 AND s.nation_key = n.nation_key AND n.region_key =
       r.region_key AND r.name IN ('EUROPE', 'ASIA') AND o.cost = (SELECT min(o2.cost) FROM offer o2, supplier s2, nation n2
       WHERE p.part_key = o2.part_key AND s2.supplier_key = o2.supplier_key AND s2.nation_key = n2.nation_key AND
       n2.region_key = r.region_key) ORDER BY s.balance DESC, n.name, s.name, p.part_key LIMIT 20""",
    # 3: largest orders not yet shipped
    """SELECT l.order_key, sum(l.price * (1 - l.discount)) AS revenue, o.ordered FROM customer c, orders o, lineitem l WHERE
       c.segment = 'BUILDING' AND c.customer_key = o.customer_key AND l.order_key = o.order_key AND o.ordered < date
       '2022-06-15' AND l.shipped > date '2021-06-15' GROUP BY l.order_key, o.ordered ORDER BY revenue DESC, o.ordered,
       l.order_key LIMIT 10""",
    # 4: priorities of late orders
    """SELECT priority, count(*) FROM orders WHERE ordered >= date '2021-07-01' AND ordered < date '2021-07-01' + interval '12
       month' AND EXISTS (SELECT * FROM lineitem l WHERE l.order_key = orders.order_key AND l.committed < l.received) GROUP
       BY priority ORDER BY priority""",
    # 5: revenue by nation within a region
    """SELECT n.name, sum(l.price * (1 - l.discount)) AS revenue FROM customer c, orders o, lineitem l, supplier s, nation n,
       region r WHERE c.customer_key = o.customer_key AND l.order_key = o.order_key AND l.supplier_key = s.supplier_key AND
       s.nation_key = n.nation_key AND n.region_key = r.region_key AND r.name <> 'AFRICA' AND o.ordered < date '2023-01-01'
       GROUP BY n.name ORDER BY revenue DESC, n.name""",
    # 6: what discounts cost
    """SELECT sum(price * discount) AS revenue FROM lineitem WHERE shipped >= date '2022-01-01' AND shipped < date '2022-01-01' +
       interval '1 year' AND discount BETWEEN 0.05 - 0.01 AND 0.05 + 0.02 AND quantity < 35""",
    # 7: trade between nations by year
    """SELECT supplies, buys, year, sum(volume) FROM (SELECT n1.name AS supplies, n2.name AS buys, extract(year FROM l.shipped) AS
       year, l.price * (1 - l.discount) AS volume FROM supplier s, lineitem l, orders o, customer c, nation n1, nation n2
       WHERE s.supplier_key = l.supplier_key AND o.order_key = l.order_key AND c.customer_key = o.customer_key AND
       s.nation_key = n1.nation_key AND c.nation_key = n2.nation_key AND (n1.region_key = 3 OR n2.region_key = 3)) AS
       shipping GROUP BY supplies, buys, year ORDER BY supplies, buys, year""",
    # 8: market share
    """SELECT year, sum(CASE WHEN nation = 'BRAZIL' THEN volume ELSE 0 END) / sum(volume) FROM (SELECT extract(year FROM o.ordered)
       AS year, l.price * (1 - l.discount) AS volume, n2.name AS nation FROM part p, supplier s, lineitem l, orders o,
       customer c, nation n1, nation n2, region r WHERE p.part_key = l.part_key AND s.supplier_key = l.supplier_key AND
       l.order_key = o.order_key AND o.customer_key = c.customer_key AND c.nation_key = n1.nation_key AND n1.region_key =
       r.region_key AND r.name <> 'ASIA' AND s.nation_key = n2.nation_key AND p.kind LIKE '%TIN') AS everything GROUP BY
       year ORDER BY year""",
    # 9: profit by nation and year
    """SELECT nation, year, sum(amount) FROM (SELECT n.name AS nation, extract(year FROM o.ordered) AS year, l.price * (1 -
       l.discount) - f.cost * l.quantity AS amount FROM part p, supplier s, lineitem l, offer f, orders o, nation n WHERE
       s.supplier_key = l.supplier_key AND f.supplier_key = l.supplier_key AND f.part_key = l.part_key AND p.part_key =
       l.part_key AND o.order_key = l.order_key AND s.nation_key = n.nation_key AND p.name LIKE '%green%') AS profit GROUP
       BY nation, year ORDER BY nation, year DESC""",
    # 10: customers who return
    """SELECT c.customer_key, c.name, sum(l.price * (1 - l.discount)) AS revenue, c.balance, n.name, c.phone FROM customer c,
       orders o, lineitem l, nation n WHERE c.customer_key = o.customer_key AND l.order_key = o.order_key AND o.ordered >=
       date '2021-10-01' AND l.returned = 'R' AND c.nation_key = n.nation_key GROUP BY c.customer_key, c.name, c.balance,
       c.phone, n.name ORDER BY revenue DESC, c.customer_key LIMIT 20""",
    # 11: important stock
    """SELECT f.part_key, sum(f.cost * f.available) AS value FROM offer f, supplier s, nation n WHERE f.supplier_key =
       s.supplier_key AND s.nation_key = n.nation_key AND n.region_key = 1 GROUP BY f.part_key HAVING sum(f.cost *
       f.available) > (SELECT sum(f.cost * f.available) * 0.02 FROM offer f, supplier s, nation n WHERE f.supplier_key =
       s.supplier_key AND s.nation_key = n.nation_key AND n.region_key = 1) ORDER BY value DESC, f.part_key""",
    # 12: modes of shipping and priority
    """SELECT l.mode, sum(CASE WHEN o.priority = '1-URGENT' OR o.priority = '2-HIGH' THEN 1 ELSE 0 END), sum(CASE WHEN o.priority
       <> '1-URGENT' AND o.priority <> '2-HIGH' THEN 1 ELSE 0 END) FROM orders o, lineitem l WHERE o.order_key = l.order_key
       AND l.mode IN ('MAIL', 'SHIP') AND l.committed < l.received AND l.shipped < l.committed GROUP BY l.mode ORDER BY
       l.mode""",
    # 13: how many customers have so many orders
    """SELECT orders, count(*) FROM (SELECT c.customer_key, count(o.order_key) FROM customer c LEFT OUTER JOIN orders o ON
       c.customer_key = o.customer_key AND o.comment NOT LIKE '%special%requests%' GROUP BY c.customer_key) AS each
       (customer, orders) GROUP BY orders ORDER BY count(*) DESC, orders DESC""",
    # 14: share of promotions
    """SELECT 100.00 * sum(CASE WHEN p.kind LIKE 'PROMO%' THEN l.price * (1 - l.discount) ELSE 0 END) / sum(l.price * (1 -
       l.discount)) FROM lineitem l, part p WHERE l.part_key = p.part_key AND l.shipped >= date '2022-01-01'""",
    # 15: best supplier
    """SELECT s.supplier_key, s.name, r.total FROM supplier s, revenue r WHERE s.supplier_key = r.supplier AND r.total = (SELECT
       max(total) FROM revenue) ORDER BY s.supplier_key""",
    # 16: suppliers of parts
    """SELECT p.brand, p.kind, p.size, count(DISTINCT f.supplier_key) AS suppliers FROM offer f, part p WHERE p.part_key =
       f.part_key AND p.brand <> 'Brand#2' AND p.kind NOT LIKE 'LARGE%' AND p.size IN (1, 3, 5, 7, 9, 11, 13, 15) AND
       f.supplier_key NOT IN ( SELECT supplier_key FROM supplier WHERE comment LIKE '%Customer%Complaints%') GROUP BY
       p.brand, p.kind, p.size ORDER BY suppliers DESC, p.brand, p.kind, p.size""",
    # 17: small orders
    """SELECT sum(l.price) / 7.0 FROM lineitem l, part p WHERE p.part_key = l.part_key AND p.container <> 'MED BOX' AND l.quantity
       < ( SELECT 0.8 * avg(i.quantity) FROM lineitem i WHERE i.part_key = p.part_key)""",
    # 18: large orders
    """SELECT c.name, c.customer_key, o.order_key, o.ordered, o.total, sum(l.quantity) FROM customer c, orders o, lineitem l WHERE
       o.order_key IN (SELECT order_key FROM lineitem GROUP BY order_key HAVING sum(quantity) > 90) AND c.customer_key =
       o.customer_key AND o.order_key = l.order_key GROUP BY c.name, c.customer_key, o.order_key, o.ordered, o.total ORDER
       BY o.total DESC, o.ordered, o.order_key LIMIT 100""",
    # 19: revenue by alternatives
    """SELECT sum(l.price * (1 - l.discount)) FROM lineitem l, part p WHERE (p.part_key = l.part_key AND p.brand = 'Brand#1' AND
       l.quantity BETWEEN 1 AND 30 AND p.size BETWEEN 1 AND 15) OR (p.part_key = l.part_key AND p.brand = 'Brand#3' AND
       p.container IN ('JUMBO PKG', 'SM CASE') AND l.quantity >= 10 AND l.mode IN ('AIR', 'TRUCK'))""",
    # 20: suppliers with too much of a part
    """SELECT s.name FROM supplier s, nation n WHERE s.supplier_key IN (SELECT f.supplier_key FROM offer f WHERE f.part_key IN (
       SELECT part_key FROM part WHERE name LIKE 'forest%') AND f.available > (SELECT 0.5 * sum(l.quantity) FROM lineitem l
       WHERE l.part_key = f.part_key AND l.supplier_key = f.supplier_key AND l.shipped >= date '2021-01-01')) AND
       s.nation_key = n.nation_key ORDER BY s.name""",
    # 21: suppliers who kept an order waiting
    """SELECT s.name, count(*) AS waits FROM supplier s, lineitem l1, orders o, nation n WHERE s.supplier_key = l1.supplier_key AND
       o.order_key = l1.order_key AND o.status <> 'P' AND l1.received > l1.committed AND EXISTS (SELECT * FROM lineitem l2
       WHERE l2.order_key = l1.order_key AND l2.supplier_key <> l1.supplier_key) AND NOT EXISTS (SELECT * FROM lineitem l3
       WHERE l3.order_key = l1.order_key AND l3.supplier_key <> l1.supplier_key AND l3.received > l3.committed) AND
       s.nation_key = n.nation_key GROUP BY s.name ORDER BY waits DESC, s.name LIMIT 100""",
    # 22: customers without orders
    """SELECT code, count(*), sum(balance) FROM (SELECT substring(c.phone FROM 1 FOR 2) AS code, c.balance FROM customer c WHERE
       substring(c.phone FROM 1 FOR 1) IN ('1', '2') AND c.balance > (SELECT avg(balance) FROM customer WHERE balance >
       0.00) AND NOT EXISTS (SELECT * FROM orders o WHERE o.customer_key = c.customer_key)) AS sale GROUP BY code ORDER BY
       code""",
]
