"""Accounts, their entries and labels, as SQLAlchemy maps them."""
import enum
import os

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import declarative_base, relationship

VERSION = int(os.environ.get("SHOP_VERSION", "2"))


def url(driver):
    return sa.engine.URL.create(
        "postgresql+" + driver,
        os.environ["PGUSER"],
        os.environ["PGPASSWORD"],
        os.environ["PGHOST"],
        int(os.environ["PGPORT"]),
        os.environ["PGDATABASE"],
    )


Base = declarative_base(
    metadata=sa.MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
)


class Kind(enum.Enum):
    private = 1
    firm = 2


class Label(Base):
    __tablename__ = "label"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(30), unique=True, nullable=False)


class Account(Base):
    __tablename__ = "account"
    id = sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)
    owner = sa.Column(sa.Text, nullable=False)
    kind = sa.Column(sa.Enum(Kind, name="kind"), nullable=False, server_default="private")
    info = sa.Column(postgresql.JSONB)
    version = sa.Column(sa.Integer, nullable=False)
    if VERSION >= 2:
        email = sa.Column(sa.String(100), index=True)
    if VERSION >= 3:
        rank = sa.Column(sa.Integer, server_default="7", nullable=False, index=True)
    entries = relationship("Entry", back_populates="account", cascade="all, delete-orphan", order_by="Entry.n")
    labels = relationship("Label", secondary="account_label", order_by="Label.name")
    __mapper_args__ = {"version_id_col": version}


class Entry(Base):
    __tablename__ = "entry"
    account_id = sa.Column(sa.ForeignKey(Account.id, ondelete="CASCADE"), primary_key=True)
    n = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
    amount = sa.Column(sa.Numeric(12, 2), nullable=False)
    seen = sa.Column(sa.DateTime(timezone=True), server_default=sa.func.now())
    account = relationship(Account, back_populates="entries")
    if VERSION >= 2:
        __table_args__ = (sa.CheckConstraint("amount <> 0", name="not_nothing"),)


sa.Table(
    "account_label",
    Base.metadata,
    sa.Column("account_id", sa.ForeignKey(Account.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("label_id", sa.ForeignKey(Label.id), primary_key=True),
)


class Log(Base):
    __tablename__ = "log"
    id = sa.Column(sa.Integer, sa.Identity(), primary_key=True)
    what = sa.Column(sa.Text)
