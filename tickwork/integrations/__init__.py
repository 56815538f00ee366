"""Where tickwork meets frameworks; each module needs the framework that it is named for."""
