from tickwork.testing.store_contract.case import StoreCase


class StoreComparison(StoreCase):
    pass
