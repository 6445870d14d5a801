"""SQLAlchemy: reflection, the ORM, its pool; over psycopg2."""
import os

import sqlalchemy as sa
from sqlalchemy.orm import Session, declarative_base, relationship

url = sa.engine.URL.create("postgresql+psycopg2", os.environ["PGUSER"], os.environ["PGPASSWORD"],
                           os.environ["PGHOST"],
                           int(os.environ["PGPORT"]), os.environ["PGDATABASE"])
engine = sa.create_engine(url, pool_size=3, pool_pre_ping=True)
inspector = sa.inspect(engine)
print(sorted(inspector.get_table_names()))
for table in ("account", "entry", "plain"):
    print(table, [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)],
          inspector.get_pk_constraint(table),
          inspector.get_foreign_keys(table), inspector.get_indexes(table))
Base = declarative_base()


class Account(Base):
    __tablename__ = "account"
    id = sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)
    owner = sa.Column(sa.Text, nullable=False)
    balance = sa.Column(sa.Numeric(12, 2), nullable=False, default=0)
    info = sa.Column(sa.dialects.postgresql.JSONB)
    entries = relationship("Entry", primaryjoin="Account.id == foreign(Entry.account)", order_by="Entry.n")


class Entry(Base):
    __tablename__ = "entry"
    account = sa.Column(sa.BigInteger, primary_key=True)
    n = sa.Column(sa.Integer, primary_key=True)
    what = sa.Column(sa.Text)


for key in range(1, 5):
    with Session(engine) as session:
        session.add(Account(id=key, owner=f"owner {key}", balance=key * 2, info={"k": [key]}))
        session.add_all([Entry(account=key, n=n, what=f"w{n}") for n in range(3)])
        session.commit()
with Session(engine) as session:
    account = session.get(Account, 3)
    print(account.id, account.owner, account.balance, account.info, [(e.n, e.what) for e in account.entries])
    account.balance += 5
    session.commit()
with Session(engine) as session:
    print(session.execute(sa.select(Account.balance, Entry.what).join(Entry,
            Entry.account == Account.id).where(Account.id == 3)
                          .order_by(Entry.n)).all())
    session.add(Account(id=3, owner="again"))
    try:
        session.commit()
    except sa.exc.IntegrityError as error:
        print("integrity", error.orig.pgcode)
        session.rollback()
    print(session.execute(sa.select(sa.func.count()).select_from(Entry).where(Entry.account == 2)).scalar())
    session.execute(sa.delete(Entry).where(Entry.account == 2))
    session.rollback()
    print(session.execute(sa.select(Entry).where(Entry.account == 2,
                                                 Entry.n.in_([0, 1])).order_by(Entry.n)).scalars().all()[1].what)
with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
    print(connection.execute(sa.text("SHOW transaction_isolation")).scalar())
engine.dispose()
