"""Google Cloud on one machine: stand-ins that speak the real protocols, and a real Airflow. For laptops and tests."""
