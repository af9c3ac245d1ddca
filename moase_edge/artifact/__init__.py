"""The artifact: one folder that holds everything a device needs, described by a manifest."""
