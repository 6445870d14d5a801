"""What programs do with SQLAlchemy's ORM, printed. The driver is the first argument."""
import asyncio
import sys
import traceback

import sqlalchemy as sa
from shop import Account, Base, Entry, Kind, Label, Log, url
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, joinedload, selectinload, subqueryload
from sqlalchemy.orm.exc import StaleDataError

STEPS = []


def step(function):
    STEPS.append(function)
    return function


@step
def add(session):
    session.add_all([Label(id=1001, name="new"), Label(id=1002, name="old")])
    session.commit()
    ann = Account(id=1, owner="ann", kind=Kind.firm, info={"vip": True})
    ann.entries = [Entry(n=n, amount=n * 10) for n in range(1, 4)]
    ann.labels = session.query(Label).all()
    session.add(ann)
    session.add_all(
        Account(id=i, owner=f"owner {i}", info={"n": i}, entries=[Entry(n=1, amount=i), Entry(n=2, amount=-i)])
        for i in range(2, 40)
    )
    session.commit()
    return ann.kind, ann.version, [(e.n, e.amount, e.seen is not None) for e in ann.entries], [l.name for l in ann.labels]


@step
def serial(session):
    label = Label(name="by sequence")
    session.add(label)
    session.commit()
    session.add_all([Label(name="a"), Label(name="b")])
    session.commit()
    return session.query(Label).count(), label.id > 0


@step
def logs(session):
    session.add_all([Log(what="a"), Log(what="b")])
    session.commit()
    return session.query(Log.what).order_by(Log.id).all()


@step
def bulk(session):
    session.bulk_save_objects([Account(id=100 + i, owner="bulk", version=1) for i in range(20)])
    session.bulk_insert_mappings(Entry, [{"account_id": 100 + i % 20, "n": i, "amount": i + 1} for i in range(60)])
    session.commit()
    session.execute(sa.insert(Account.__table__), [{"id": 200 + i, "owner": "many", "version": 1} for i in range(10)])
    session.commit()
    rows = session.execute(
        sa.insert(Account.__table__)
        .values([{"id": 300 + i, "owner": "values", "version": 1} for i in range(5)])
        .returning(Account.id, Account.kind)
    ).all()
    session.commit()
    session.bulk_update_mappings(Account, [{"id": 100 + i, "owner": f"upd {i}", "version": 1} for i in range(20)])
    session.commit()
    return (
        session.query(Account).count(),
        rows,
        session.query(sa.func.sum(Entry.amount)).scalar(),
        session.query(Account).filter(Account.owner.like("upd%")).count(),
    )


@step
def upsert(session):
    insert = postgresql.insert(Account.__table__)
    up = insert.on_conflict_do_update(
        index_elements=["id"], set_={"owner": insert.excluded.owner, "version": Account.__table__.c.version + 1}
    ).returning(Account.__table__.c.id, Account.__table__.c.owner, Account.__table__.c.version)
    rows = session.execute(
        up.values([{"id": 300, "owner": "again", "version": 1}, {"id": 310, "owner": "fresh", "version": 1}])
    ).all()
    one = session.execute(up.values(id=301, owner="one", version=1)).all()
    none = session.execute(
        postgresql.insert(Entry.__table__)
        .values([{"account_id": 1, "n": 1, "amount": 5}, {"account_id": 2, "n": 9, "amount": 5}])
        .on_conflict_do_nothing()
    ).rowcount
    session.commit()
    label = session.execute(
        postgresql.insert(Label.__table__)
        .values(id=1001, name="new")
        .on_conflict_do_update(constraint="pk_label", set_={"name": "newer"})
        .returning(Label.name)
    ).all()
    session.commit()
    return rows, one, none, label


@step
def versions(session):
    a = session.get(Account, 3)
    a.owner = "first"
    session.commit()
    with Session(session.bind) as other:
        b = other.get(Account, 3)
        a.owner = "second"
        session.commit()
        b.owner = "late"
        try:
            other.commit()
        except StaleDataError:
            print("stale")
            other.rollback()
    session.refresh(a)
    return a.owner, a.version


@step
def nested(session):
    with session.begin():
        session.add(Account(id=400, owner="outer"))
        session.flush()
        try:
            with session.begin_nested():
                session.add_all([Account(id=401, owner="inner"), Account(id=1, owner="twice")])
        except sa.exc.IntegrityError as error:
            print("integrity", error.orig.sqlstate if hasattr(error.orig, "sqlstate") else error.orig.pgcode)
        with session.begin_nested():
            session.add(Account(id=402, owner="kept"))
    try:
        with session.begin():
            session.execute(sa.delete(Account).where(Account.id >= 400))
            raise KeyError
    except KeyError:
        pass
    return session.scalars(sa.select(Account.id).where(Account.id >= 400).order_by(Account.id)).all()


@step
def relations(session):
    query = sa.select(Account).where(Account.id.in_([1, 2, 105])).order_by(Account.id)
    found = []
    for option in (joinedload, selectinload, subqueryload):
        session.expunge_all()
        found.append(
            [
                (a.owner, [(e.n, e.amount) for e in a.entries], [l.name for l in a.labels])
                for a in session.scalars(query.options(option(Account.entries), option(Account.labels))).unique()
            ]
        )
    session.expunge_all()
    session.commit()  # the coordinator answers before a shard is in the transaction
    found.append(
        [
            (a.id, len(a.entries))
            for a in session.scalars(
                sa.select(Account).options(joinedload(Account.entries)).order_by(Account.id).limit(3)
            ).unique()
        ]
    )
    found.append(
        session.scalars(sa.select(Account.id).where(Account.entries.any(Entry.amount > 50)).order_by(Account.id)).all()
    )
    found.append(session.scalars(sa.select(Account.id).where(~Account.entries.any()).order_by(Account.id)).all())
    found.append(
        session.scalars(sa.select(Account.id).where(Account.labels.any(Label.name == "old")).order_by(Account.id)).all()
    )
    found.append(
        session.execute(
            sa.select(Entry.n, Account.owner).join(Entry.account).where(Account.owner == "ann").order_by(Entry.n)
        ).all()
    )
    return found


@step
def aggregates(session):
    return (
        session.execute(
            sa.select(Account.kind, sa.func.count(), sa.func.max(Account.version)).group_by(Account.kind).order_by(Account.kind)
        ).all(),
        session.execute(
            sa.select(Account.id, sa.func.sum(Entry.amount))
            .join(Entry)
            .group_by(Account.id)
            .having(sa.func.count() > 2)
            .order_by(Account.id)
        ).all(),
        session.execute(
            sa.select(Account.owner, sa.func.sum(Entry.amount).label("s"))
            .outerjoin(Entry)
            .group_by(Account.owner)
            .order_by(sa.desc("s").nulls_last(), Account.owner)
            .limit(5)
        ).all(),
        session.query(Account).filter(Account.info["n"].astext.cast(sa.Integer) > 30).count(),
        session.execute(sa.select(sa.func.count(sa.distinct(Account.owner)))).scalar(),
        session.query(sa.exists().where(Account.id == 1)).scalar(),
        session.query(Account.id).filter(Account.info.contains({"vip": True})).all(),
        session.execute(
            sa.select(
                Entry.account_id,
                Entry.n,
                sa.func.row_number().over(partition_by=Entry.account_id, order_by=Entry.amount.desc()),
            )
            .where(Entry.account_id.in_([1, 105]))
            .order_by(Entry.account_id, Entry.n)
        ).all(),
    )


@step
def write(session):
    a = session.execute(
        sa.update(Entry).where(Entry.amount < 0).values(amount=Entry.amount - 1),
        execution_options={"synchronize_session": False},
    ).rowcount
    b = session.execute(
        sa.update(Account).where(Account.kind == Kind.firm).values(owner=sa.func.upper(Account.owner)).returning(Account.owner),
        execution_options={"synchronize_session": False},
    ).all()
    c = session.execute(sa.delete(Entry).where(Entry.account_id.in_([105, 106]), Entry.n > 20)).rowcount
    d = sorted(
        session.execute(
            sa.delete(Entry).where(Entry.amount > 55).returning(Entry.account_id, Entry.n),
            execution_options={"synchronize_session": False},
        ).all()
    )
    session.commit()
    e = session.query(Account).filter(Account.owner == "many").update({"email": "many@x"})
    f = session.query(Account).filter(Account.id.in_([208, 209])).delete()
    session.commit()
    return a, b, c, d, e, f


@step
def fetch_update(session):
    e = session.query(Account).filter(Account.owner == "many").update({"email": "many@y"}, synchronize_session="fetch")
    session.commit()
    return e


@step
def cascade(session):
    ann = session.get(Account, 1)
    ann.entries.remove(ann.entries[0])
    ann.labels.append(session.query(Label).filter_by(name="old").one()) if len(ann.labels) < 2 else ann.labels.pop()
    session.commit()
    two = session.get(Account, 2)
    session.delete(two)
    session.commit()
    return [e.n for e in ann.entries], [l.name for l in ann.labels], session.query(Entry).filter_by(account_id=2).count()


@step
def locks(session):
    a = session.scalars(sa.select(Account).where(Account.id == 1).with_for_update()).one()
    a.owner = "locked"
    session.commit()
    b = len(session.scalars(sa.select(Account).where(Account.owner.like("upd%")).with_for_update(skip_locked=True)).all())
    session.commit()
    c = session.scalars(
        sa.select(Account).join(Entry).where(Entry.n == 1, Account.id < 9).with_for_update(of=Account, nowait=True)
    ).all()
    session.commit()
    return a.owner, b, len(c)


@step
def stream(session):
    n = 0
    for part in session.execute(
        sa.select(Entry.account_id, Entry.n).order_by(Entry.account_id, Entry.n),
        execution_options={"stream_results": True, "max_row_buffer": 7},
    ).partitions(10):
        n += len(part)
    session.commit()
    one = [
        row.n
        for row in session.execute(
            sa.select(Entry.n).where(Entry.account_id == 105).order_by(Entry.n).execution_options(yield_per=2)
        )
    ]
    session.commit()
    return n, one


@step
def core(session):
    cte = sa.select(Entry.account_id, sa.func.sum(Entry.amount).label("s")).group_by(Entry.account_id).cte("sums")
    recent = sa.select(Entry).where(Entry.account_id == Account.id).order_by(Entry.amount.desc()).limit(1).lateral()
    return (
        session.execute(
            sa.select(Account.owner, cte.c.s).join(cte, cte.c.account_id == Account.id).where(cte.c.s > 40).order_by(Account.id)
        ).all(),
        session.execute(sa.select(Account.id, recent.c.amount).join(recent, sa.true()).order_by(Account.id).limit(4)).all(),
        session.execute(
            sa.union_all(
                sa.select(Account.id).where(Account.id < 4), sa.select(Entry.account_id).where(Entry.n == 41)
            ).order_by("id")
        ).all(),
        session.execute(sa.text("SELECT :a + 1"), {"a": 1}).scalar(),
        session.execute(sa.select(Account.id).order_by(Account.owner, Account.id).offset(5).limit(3)).all(),
    )


@step
def change_key(session):
    entry = session.get(Entry, (106, 6))
    entry.account_id = 107
    entry.n = 99
    session.commit()
    return session.get(Entry, (107, 99)).amount


@step
def reflect(session):
    inspector = sa.inspect(session.bind)
    meta = sa.MetaData()
    meta.reflect(session.bind, only=list(Base.metadata.tables))
    return (
        [(c.name, str(c.type), c.nullable, c.autoincrement) for t in meta.sorted_tables for c in t.columns],
        sorted((f.column.table.name, f.parent.table.name) for t in meta.sorted_tables for f in t.foreign_keys),
        inspector.get_indexes("account"),
        inspector.get_unique_constraints("label"),
        inspector.get_enums(),
        inspector.get_pk_constraint("entry"),
        [c for c in inspector.get_check_constraints("entry") if c["name"] != "mosaic_owner"],
        inspector.get_view_names(),
        inspector.get_table_comment("entry"),
        inspector.has_table("entry"),
        inspector.has_table("none"),
    )


def empty(session):
    for table in reversed(Base.metadata.sorted_tables):
        session.execute(table.delete())
    session.commit()


def run(session):
    for function in (empty, *STEPS):
        session.expunge_all()
        try:
            print(function.__name__, function(session))
        except Exception:  # noqa: BLE001 (all of it is compared)
            print(function.__name__, traceback.format_exc())
        session.rollback()


async def run_async():
    engine = create_async_engine(url("asyncpg"))
    async with AsyncSession(engine) as session:
        await session.run_sync(run)
    await engine.dispose()


if __name__ == "__main__":
    if sys.argv[1] == "asyncpg":
        asyncio.run(run_async())
    else:
        with Session(sa.create_engine(url(sys.argv[1]), pool_pre_ping=True)) as only:
            run(only)
