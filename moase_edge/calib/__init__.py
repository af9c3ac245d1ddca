"""What is measured on representative images and kept in the artifact."""
