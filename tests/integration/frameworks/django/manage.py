#!/usr/bin/python3
"""A project of Django's, one file: its settings are the environment of libpq."""
import os
import sys

import django.conf
from django.core.management import execute_from_command_line

django.conf.settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": os.environ["PGHOST"],
            "PORT": os.environ["PGPORT"],
            "NAME": os.environ["PGDATABASE"],
            "USER": os.environ["PGUSER"],
            "PASSWORD": os.environ["PGPASSWORD"],
        }
    },
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.postgres",
        "shop",
    ],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    SECRET_KEY="of no use",
    USE_TZ=True,
)

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
