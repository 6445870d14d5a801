"""What programs do with Django's ORM, printed."""
import sys
import traceback

import django
import manage  # noqa: F401 (the settings)

django.setup()
from django.contrib.auth.models import Permission, User  # noqa: E402
from django.contrib.postgres.aggregates import ArrayAgg, StringAgg  # noqa: E402
from django.db import IntegrityError, connection, transaction  # noqa: E402
from django.db.models import (  # noqa: E402
    Avg, Case, Count, Exists, F, Max, Min, OuterRef, Prefetch, Q, Subquery, Sum, Value, When, Window)
from django.db.models.functions import Coalesce, RowNumber, TruncMonth, Upper, Now  # noqa: E402
from shop.models import Customer, Order, Tag  # noqa: E402

STEPS = []


def step(function):
    STEPS.append(function)
    return function


@step
def create():
    made = Customer.objects.create(id=101, name="ann", email="ann@shop.example", details={"vip": True, "n": [1, 2]})
    order = made.orders.create(number=1, total="12.50")
    order.refresh_from_db()
    return made.pk, order.total, order.status, order.pk > 0


@step
def bulk_create():
    Customer.objects.bulk_create(Customer(id=200 + i, name=f"bulk {i}", details={"n": i}) for i in range(20))
    made = Order.objects.bulk_create(
        [Order(customer_id=200 + i % 20, number=i, total=i, status="osp"[i % 3]) for i in range(100)], batch_size=40
    )
    return len({order.pk for order in made}), Order.objects.filter(customer_id__gte=200).count()


@step
def bulk_ignore():
    Customer.objects.bulk_create([Customer(id=200, name="again"), Customer(id=230, name="fresh")], ignore_conflicts=True)
    return sorted(Customer.objects.filter(id__in=[200, 230]).values_list("id", "name"))


@step
def get_or_create():
    a = Order.objects.get_or_create(customer_id=101, number=2, defaults={"total": 3})
    b = Order.objects.get_or_create(customer_id=101, number=2, defaults={"total": 4})
    c = Order.objects.update_or_create(customer_id=101, number=2, defaults={"total": 5})
    d = Customer.objects.get_or_create(id=102, defaults={"name": "dan"})
    e = Customer.objects.update_or_create(name="ann", defaults={"email": "new@shop.example"})
    return a[1], b[1], b[0].total, c[1], c[0].total, d[1], e[1], e[0].pk


@step
def tag_create():
    return (
        Tag.objects.get_or_create(name="red")[1],
        Tag.objects.get_or_create(name="red")[1],
        Tag.objects.create(name="blue").pk > 0,
    )


@step
def tags():
    ann = Customer.objects.get(pk=101)
    ann.tags.add(*Tag.objects.filter(name__in=["new", "old"]))
    ann.tags.add(Tag.objects.get(name="new"))
    return sorted(ann.tags.values_list("name", flat=True))


@step
def tags_other():
    tag = Tag.objects.get(name="new")
    tag.customers.add(*Customer.objects.filter(id__lt=10))
    return sorted(tag.customers.values_list("id", flat=True))


@step
def tags_set():
    Customer.objects.get(pk=5).tags.set(Tag.objects.filter(name="old"))
    Customer.objects.get(pk=6).tags.clear()
    Customer.objects.get(pk=7).tags.remove(Tag.objects.get(name="new"))
    return (
        sorted(Customer.objects.filter(tags__name="old").values_list("id", flat=True)),
        Customer.objects.filter(tags__isnull=False).distinct().count(),
    )


@step
def for_update():
    with transaction.atomic():
        order = Order.objects.select_for_update().get(customer_id=101, number=1)
        order.total += 1
        order.save()
    with transaction.atomic():
        found = sorted(o.number for o in Order.objects.select_for_update(skip_locked=True).filter(customer_id=101))
    with transaction.atomic():
        many = len(Order.objects.select_for_update().filter(status="p"))
    with transaction.atomic():
        of = len(Order.objects.select_for_update(of=("self",)).select_related("customer").filter(status="p"))
    with transaction.atomic():
        by_id = Order.objects.select_for_update().get(pk=order.pk).total
    return found, many, of, by_id


@step
def update():
    return (
        Order.objects.filter(status="o", customer_id__gte=200).update(total=F("total") + 1),
        Order.objects.filter(customer_id=101).update(status="s"),
        Order.objects.update(total=F("total") * 2),
        Customer.objects.filter(orders__status="p").update(email="paid@shop.example"),
    )


@step
def save_by_pk():
    order = Order.objects.filter(status="p").order_by("customer_id", "number").first()
    order.total = 99
    order.save()
    order.save(update_fields=["status"])
    again = Order.objects.get(pk=order.pk)
    return again.total, again.number


@step
def bulk_update():
    orders = list(Order.objects.filter(customer_id__in=[201, 202, 203]).order_by("customer_id", "number"))
    for i, order in enumerate(orders):
        order.total = i
    Order.objects.bulk_update(orders, ["total"])
    return list(
        Order.objects.filter(customer_id__in=[201, 202]).order_by("customer_id", "number").values_list("total", flat=True)
    )


@step
def delete():
    a = Order.objects.filter(status="o", customer_id=210).delete()
    b = Order.objects.filter(total__gt=150).delete()
    c = Customer.objects.get(pk=102).delete()
    d = Customer.objects.filter(id__in=[230, 219]).delete()
    return a, b, c, d


@step
def aggregate():
    return (
        Order.objects.aggregate(Count("pk"), Sum("total"), Min("total"), Max("total"), Avg("total")),
        Order.objects.count(),
        Order.objects.aggregate(n=Count("customer", distinct=True)),
        Customer.objects.filter(details__n__gte=10).count(),
        Customer.objects.exists(),
        Order.objects.filter(total__lt=0).exists(),
    )


@step
def annotate():
    return (
        list(
            Customer.objects.annotate(n=Count("orders"), spent=Sum("orders__total"))
            .filter(n__gt=1)
            .order_by("-spent", "id")
            .values_list("id", "n", "spent")[:7]
        ),
        list(Order.objects.values("status").annotate(n=Count("id"), t=Sum("total")).order_by("status")),
        list(Customer.objects.annotate(m=TruncMonth("joined")).values("m").annotate(n=Count("id")).order_by("m")),
    )


@step
def annotate_more():
    return (
        list(
            Customer.objects.annotate(names=StringAgg("tags__name", ",", ordering="tags__name"))
            .filter(names__isnull=False)
            .order_by("id")
            .values_list("id", "names")
        ),
        list(
            Customer.objects.annotate(ns=ArrayAgg("orders__number", ordering="orders__number"))
            .filter(id__in=[101, 205])
            .order_by("id")
            .values_list("id", "ns")
        ),
    )


@step
def subqueries():
    last = Order.objects.filter(customer=OuterRef("pk")).order_by("-number")
    return (
        list(
            Customer.objects.annotate(last=Subquery(last.values("total")[:1])).order_by("id").values_list("id", "last")[:40:5]
        ),
        list(Customer.objects.filter(Exists(last.filter(status="p"))).order_by("id").values_list("id", flat=True)),
        list(Customer.objects.filter(~Q(orders__status="p")).order_by("id").values_list("id", flat=True)),
        sorted(
            Order.objects.filter(customer__in=Customer.objects.filter(name__startswith="bulk 1")).values_list(
                "number", flat=True
            )
        ),
    )


@step
def windows():
    return list(
        Order.objects.annotate(place=Window(RowNumber(), partition_by=[F("customer_id")], order_by=F("total").desc()))
        .filter(customer_id=205)
        .order_by("number")
        .values_list("number", "place")
    )


@step
def window_all():
    return list(
        Order.objects.annotate(place=Window(RowNumber(), order_by=[F("total").desc(), F("customer_id"), F("number")]))
        .order_by("place")
        .values_list("number", "place")[:9]
    )


@step
def related():
    rows = [
        (c.id, [(o.number, o.total) for o in c.orders.all()], [t.name for t in c.tags.all()])
        for c in Customer.objects.filter(id__in=[1, 5, 101, 203])
        .order_by("id")
        .prefetch_related(Prefetch("orders", Order.objects.order_by("number")), Prefetch("tags", Tag.objects.order_by("name")))
    ]
    return rows, [
        (o.customer.name, o.number)
        for o in Order.objects.select_related("customer")
        .filter(customer__name__contains="ulk 3")
        .order_by("customer__name", "number")
    ]


@step
def prefetch_m2m():
    return [
        (t.name, [c.id for c in t.customers.all()])
        for t in Tag.objects.order_by("name").prefetch_related(Prefetch("customers", Customer.objects.order_by("id")))
    ]


@step
def savepoints():
    with transaction.atomic():
        Customer.objects.create(id=301, name="outer")
        try:
            with transaction.atomic():
                Customer.objects.create(id=302, name="inner")
                Customer.objects.create(id=301, name="twice")
        except IntegrityError as error:
            print("integrity", error.__cause__.pgcode)
        Customer.objects.create(id=303, name="behind")
        sid = transaction.savepoint()
        Customer.objects.create(id=304, name="undone")
        transaction.savepoint_rollback(sid)
        transaction.savepoint_commit(transaction.savepoint())
        transaction.on_commit(lambda: print("committed"))
    try:
        with transaction.atomic():
            Customer.objects.filter(id__gte=300).delete()
            raise KeyError
    except KeyError:
        pass
    return sorted(Customer.objects.filter(id__gte=300).values_list("id", flat=True))


@step
def deferred_key():
    try:
        with transaction.atomic():
            Order.objects.create(customer_id=999, number=1)
            print("deferred")
    except IntegrityError as error:
        print("integrity", error.__cause__.pgcode)
    try:
        Order.objects.create(customer_id=101, number=1)
    except IntegrityError as error:
        print("integrity", error.__cause__.pgcode, error.__cause__.diag.constraint_name)
    try:
        Order.objects.create(customer_id=101, number=77, total=-1)
    except IntegrityError as error:
        print("integrity", error.__cause__.pgcode, error.__cause__.diag.constraint_name)
    with transaction.atomic():
        Order.objects.create(customer_id=305, number=1)
        Customer.objects.create(id=305, name="late")
    connection.check_constraints()
    return Order.objects.get(customer_id=305).customer.name


@step
def iterator():
    """By cursors of the server: outside of a transaction they would be WITH HOLD, which several shards do not do."""
    with transaction.atomic():
        all_of_them = [order.number for order in Order.objects.order_by("customer_id", "number").iterator(chunk_size=10)]
        some = [
            order.number
            for order in Order.objects.filter(customer_id__in=[203, 205])
            .order_by("customer_id", "number")
            .iterator(chunk_size=2)
        ]
    return all_of_them, some, [tag.name for tag in Tag.objects.order_by("name").iterator(chunk_size=1)]


@step
def page():
    q = Customer.objects.order_by("name", "id")
    return (
        list(q.values_list("id", flat=True)[3:9]),
        list(q.reverse().values_list("id", flat=True)[:3]),
        q.first().id,
        q.last().id,
        Customer.objects.filter(joined__isnull=False).latest("joined").id,
        sorted(Customer.objects.in_bulk([3, 1])),
    )


@step
def json():
    Customer.objects.filter(details__vip=True).update(details={"vip": False})
    return (
        list(Customer.objects.filter(details__vip=False).values_list("id", flat=True)),
        Customer.objects.filter(details__has_key="n").count(),
        Customer.objects.filter(details__contains={"n": 4}).count(),
        list(Customer.objects.filter(details__n__in=[3, 4]).order_by("id").values_list("details__n", flat=True)),
    )


@step
def sets():
    a, b = Customer.objects.filter(id__lt=5).values_list("id"), Customer.objects.filter(id__in=[3, 4, 5]).values_list("id")
    return sorted(a.union(b)), sorted(a.intersection(b)), sorted(a.difference(b)), sorted(a.union(b, all=True).order_by("id"))


@step
def expressions():
    return (
        list(
            Order.objects.filter(customer_id=205)
            .annotate(kind=Case(When(total__gt=20, then=Value("big")), default=Value("small")))
            .order_by("number")
            .values_list("kind", flat=True)
        ),
        list(
            Customer.objects.filter(id__lte=3)
            .annotate(u=Upper("name"), e=Coalesce("email", Value("none")))
            .order_by("id")
            .values_list("u", "e")
        ),
        Customer.objects.filter(joined__lt=Now()).count(),
        Customer.objects.filter(name__iexact="ANN").count(),
        Customer.objects.filter(name__regex=r"^bulk \d$").count(),
        list(Customer.objects.dates("joined", "month")),
        list(Customer.objects.filter(joined__date="2024-01-05").values_list("id")),
        sorted(set(Order.objects.values_list("status", flat=True).distinct())),
    )


@step
def change_key():
    """A key that changes: named by the WHERE the row moves."""
    before = Order.objects.get(customer_id=101, number=2)
    moved = Order.objects.filter(customer_id=101, pk=before.pk).update(customer_id=9)
    again = Order.objects.get(pk=before.pk)
    again.total += 1
    again.save()
    return moved, Order.objects.get(customer_id=9, number=2).total, again.customer.id


@step
def users():
    user = User.objects.create_user("ann", password="x")
    user.user_permissions.add(*Permission.objects.filter(codename__endswith="customer"))
    return (
        user.has_perm("shop.add_customer"),
        sorted(user.get_all_permissions()),
        User.objects.filter(user_permissions__codename="add_customer").count(),
    )


@step
def raw():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM shop_order WHERE customer_id = %s", [205])
        a = cursor.fetchall()
        cursor.execute("WITH x AS (SELECT customer_id, sum(total) s FROM shop_order GROUP BY 1) SELECT max(s) FROM x")
        b = cursor.fetchall()
        cursor.executemany("UPDATE shop_customer SET name = %s WHERE id = %s", [("one", 1), ("two", 2)])
    return a, b, [c.name for c in Customer.objects.raw("SELECT * FROM shop_customer WHERE id < 3 ORDER BY id")]


@step
def introspection():
    with connection.cursor() as cursor:
        look = connection.introspection
        constraints = look.get_constraints(cursor, "shop_order")
        constraints.pop("mosaic_owner", None)  # what the shards' tables have more
        return (
            sorted(look.table_names()),
            constraints,
            look.get_relations(cursor, "shop_order"),
            look.get_sequences(cursor, "shop_tag"),
            look.get_primary_key_column(cursor, "shop_tag"),
            [column[:7] for column in look.get_table_description(cursor, "shop_order")],
        )


def later():
    """With the third version's column."""
    print(
        Customer.objects.filter(rank=7).count(),
        Customer.objects.filter(id=3).update(rank=F("rank") + 1),
        Customer.objects.aggregate(Sum("rank")),
        list(Customer.objects.order_by("-rank", "id").values_list("id", "rank")[:3]),
    )
    Customer.objects.create(id=900, name="ranked", rank=1).delete()


if __name__ == "__main__":
    if sys.argv[1:]:
        later()
    else:
        for function in STEPS:
            try:
                print(function.__name__, function())
            except Exception:  # noqa: BLE001 (all of it is compared)
                print(function.__name__, traceback.format_exc())
