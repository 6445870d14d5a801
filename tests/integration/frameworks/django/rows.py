"""Rows of the first version."""
import datetime

import django
import manage  # noqa: F401 (the settings)

django.setup()
from shop.models import Customer, Order  # noqa: E402

for i in range(1, 31):
    Customer.objects.create(
        id=i, fullname=f"name {i}", details={"n": i}, joined=datetime.datetime(2024, 1, i, tzinfo=datetime.timezone.utc)
    )
    Order.objects.create(customer_id=i, number=1, total=i)
