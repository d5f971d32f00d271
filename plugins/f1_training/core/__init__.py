"""What the Airflow side decides by itself: settings, plans, specs, reasons. No client is imported here."""
