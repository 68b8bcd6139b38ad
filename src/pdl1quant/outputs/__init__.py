"""Writers of tables, pictures and exports."""
