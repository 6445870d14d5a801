"""The second version; it becomes shop/migrations/0002_email.py."""

from django.db import migrations, models


def fill(apps, schema_editor):
    """A migration of the rows."""
    Customer, Tag = apps.get_model("shop", "Customer"), apps.get_model("shop", "Tag")
    Tag.objects.bulk_create([Tag(name="new"), Tag(name="old")])
    for customer in Customer.objects.filter(email=None).order_by("id"):
        customer.email = f"{customer.name}@shop.example"
        customer.save(update_fields=["email"])


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.RenameField("customer", "fullname", "name"),
        migrations.AddField("customer", "email", models.EmailField(null=True, db_index=True, max_length=254)),
        migrations.AddConstraint("order", models.CheckConstraint(check=models.Q(total__gte=0), name="never_negative")),
        migrations.AddIndex("order", models.Index(fields=["customer", "status"], name="by_status")),
        migrations.RunPython(fill, migrations.RunPython.noop),
        # What is unique over shards has the key: of Django's models the primary key is one column still.
        migrations.RunSQL(
            [
                "ALTER TABLE shop_order DROP CONSTRAINT shop_order_pkey, ADD PRIMARY KEY (customer_id, id)",
                "ALTER TABLE shop_customer_tags DROP CONSTRAINT shop_customer_tags_pkey," " ADD PRIMARY KEY (customer_id, id)",
            ]
        ),
    ]
