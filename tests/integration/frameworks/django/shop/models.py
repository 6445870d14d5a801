"""Customers and their orders, as three versions of the program have them."""
import os

from django.db import models

VERSION = int(os.environ["SHOP_VERSION"])


class Tag(models.Model):
    name = models.CharField(max_length=30, unique=True)


class Customer(models.Model):
    id = models.BigIntegerField(primary_key=True)
    if VERSION == 1:
        fullname = models.CharField(max_length=80)
    else:
        name = models.CharField(max_length=80)
        email = models.EmailField(null=True, db_index=True)
    joined = models.DateTimeField(null=True)
    details = models.JSONField(default=dict)
    tags = models.ManyToManyField(Tag, related_name="customers")
    if VERSION >= 3:
        rank = models.IntegerField(default=7)


class Order(models.Model):
    class Status(models.TextChoices):
        OPEN = "o", "open"
        PAID = "p", "paid"
        SENT = "s", "sent"

    customer = models.ForeignKey(Customer, models.CASCADE, related_name="orders")
    number = models.IntegerField()
    status = models.CharField(max_length=1, choices=Status.choices, default=Status.OPEN)
    total = models.DecimalField(max_digits=10, decimal_places=2, default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["customer", "number"], name="one_number")]
        if VERSION >= 2:
            constraints += [models.CheckConstraint(check=models.Q(total__gte=0), name="never_negative")]
            indexes = [models.Index(fields=["customer", "status"], name="by_status")]
        if VERSION >= 3:
            indexes += [models.Index(fields=["status", "-total"], name="by_total")]
