"""E74: the product description an item names reaches the rule that judges it (DQ-2)."""

import pytest

from spotadapters.http.routes.reports import price_sheet

ITEM = {"pool_id": "m5.large.us-east-1a", "price": 0.04}


@pytest.mark.parametrize("shape", ["spot_pools", "spot_prices", "pools", "pricing_data_array"])
@pytest.mark.parametrize("name", ["product_description", "ProductDescription"])
def test_every_shape_tells_the_product(shape: str, name: str) -> None:
    sheet = price_sheet({shape: [{**ITEM, name: "Windows"}, ITEM]})
    assert [item.product for item in sheet.spot] == ["Windows", None]
